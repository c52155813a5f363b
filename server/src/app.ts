import type { FastifyInstance } from "fastify"
import { sql } from "kysely"
import type { Config, Secrets } from "./config.ts"
import type { Database } from "./db/database.ts"
import type { Directory, Route } from "./http/endpoint.ts"
import { healthRoutes } from "./http/health.ts"
import { buildServer } from "./http/server.ts"
import { closeAllSse } from "./http/sse.ts"
import type { Clock } from "./lib/clock.ts"
import type { Logger } from "./lib/log.ts"

/** What the app is given from outside, so that a test can hand in its own. */
export interface AppOptions {
  config: Config
  /** The provider keys and base URLs of the platform, by the variables' names. */
  providers: Secrets["providers"]
  adminKey: string
  /** 32 bytes: seals what must not be read from the database alone. */
  masterKey: Uint8Array
  db: Database
  clock: Clock
  log: Logger
  /** Where users reach the server, without a slash at the end; asked at each use, as the port is known late. */
  publicUrl(): string
}

export interface App extends AsyncDisposable {
  server: FastifyInstance
  /** What need not be there for the first answer: workers, the sandbox's self-test, what an earlier stop left over. */
  start(): void
  /** From now on `/ready` says 503 and no new run is taken. */
  drain(): void
  /** Resolves when no run is under way. */
  idle(): Promise<void>
}

/** Builds every part and ties them together; this is the one place that knows them all. */
export function createApp(options: AppOptions): App {
  const { db, log } = options
  let draining = false
  const databaseAnswers = async () => {
    try {
      await sql`select 1`.execute(db.read)
      return true
    } catch {
      return false
    }
  }
  const directory: Directory = {
    authenticate: async () => null,
    user: async () => null,
    agent: async () => null,
    watch: () => new AbortController().signal,
  }
  const routes: Route[] = [...healthRoutes(async () => !draining && (await databaseAnswers()))]
  const server = buildServer({ routes, directory, log })
  return {
    server,
    start() {},
    drain() {
      draining = true
    },
    async idle() {},
    async [Symbol.asyncDispose]() {
      closeAllSse()
      await server.close()
    },
  }
}
