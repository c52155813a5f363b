import type { FastifyInstance } from "fastify"
import { sql } from "kysely"
import { createAgents } from "./agents/agents.ts"
import { agentRoutes } from "./agents/routes.ts"
import type { Config, Secrets } from "./config.ts"
import type { Database } from "./db/database.ts"
import { createDirectory } from "./directory.ts"
import type { Route } from "./http/endpoint.ts"
import { healthRoutes } from "./http/health.ts"
import { buildServer } from "./http/server.ts"
import { closeAllSse } from "./http/sse.ts"
import { createKeys } from "./keys/keys.ts"
import type { Clock } from "./lib/clock.ts"
import type { Logger } from "./lib/log.ts"
import { createModels } from "./models/models.ts"
import { BUILT_IN_PLANS, checkTiersInUse, createPlans } from "./plans/plans.ts"
import { planRoutes } from "./plans/routes.ts"
import { userRoutes } from "./users/routes.ts"
import { createUsers } from "./users/users.ts"

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
export async function createApp(options: AppOptions): Promise<App> {
  const { config, db, log, clock } = options
  let draining = false
  const databaseAnswers = async () => {
    try {
      await sql`select 1`.execute(db.read)
      return true
    } catch {
      return false
    }
  }
  const plans = createPlans(config.plans ?? BUILT_IN_PLANS)
  const keys = createKeys({ db, clock, plans, log })
  const users = createUsers({ db, clock, plans, keys })
  checkTiersInUse(plans, await users.tiersInUse())
  await keys.setAdmin(options.adminKey)
  const models = createModels({
    defaultModel: config.defaultModel,
    demo: config.demo,
    platform: options.providers,
  })
  const agents = createAgents({ db, clock, keys, users, models })
  const directory = createDirectory({ keys, users, agents })
  const routes: Route[] = [
    ...healthRoutes(async () => !draining && (await databaseAnswers())),
    ...planRoutes(plans),
    ...userRoutes(users, agents.all),
    ...agentRoutes(agents),
  ]
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
      await keys[Symbol.asyncDispose]()
    },
  }
}
