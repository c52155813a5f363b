import type { FastifyInstance } from "fastify"
import { sql } from "kysely"
import type { Database } from "./db/database.ts"
import type { Directory, Route } from "./http/endpoint.ts"
import { healthRoutes } from "./http/health.ts"
import { buildServer } from "./http/server.ts"
import type { Clock } from "./lib/clock.ts"
import type { Logger } from "./lib/log.ts"

/** What the app is given from outside, so that a test can hand in its own. */
export interface AppOptions {
  db: Database
  clock: Clock
  log: Logger
  directory: Directory
}

export interface App extends AsyncDisposable {
  server: FastifyInstance
  /** From now on `/ready` says 503 and no new run is taken. */
  drain(): void
}

/** Builds every part and ties them together; this is the one place that knows them all. */
export function createApp({ db, log, directory }: AppOptions): App {
  let draining = false
  const databaseAnswers = async () => {
    try {
      await sql`select 1`.execute(db.read)
      return true
    } catch {
      return false
    }
  }
  const routes: Route[] = [...healthRoutes(async () => !draining && (await databaseAnswers()))]
  const server = buildServer({ routes, directory, log })
  return {
    server,
    drain() {
      draining = true
    },
    async [Symbol.asyncDispose]() {
      await server.close()
    },
  }
}
