import { hkdfSync } from "node:crypto"
import { fileURLToPath } from "node:url"
import type { FastifyInstance } from "fastify"
import { sql } from "kysely"
import { createAgents } from "./agents/agents.ts"
import { agentRoutes } from "./agents/routes.ts"
import { auditRoutes } from "./audit/routes.ts"
import { serverId } from "./chat/server-id.ts"
import type { Config, Secrets } from "./config.ts"
import type { Database } from "./db/database.ts"
import { createDirectory } from "./directory.ts"
import { createFiles } from "./files/files.ts"
import { fileRoutes } from "./files/routes.ts"
import { createStorage } from "./files/storage.ts"
import { keptBytes } from "./files/store.ts"
import { createAccessLog } from "./http/access-log.ts"
import type { Route } from "./http/endpoint.ts"
import { healthRoutes } from "./http/health.ts"
import { createIdempotency } from "./http/idempotency.ts"
import { createPages } from "./http/pages.ts"
import { createRateLimits } from "./http/rate-limit.ts"
import { buildServer } from "./http/server.ts"
import { closeAllSse } from "./http/sse.ts"
import { createKeys } from "./keys/keys.ts"
import type { Clock } from "./lib/clock.ts"
import { withDeadline } from "./lib/deadline.ts"
import { ids } from "./lib/ids.ts"
import type { Logger } from "./lib/log.ts"
import { createVeil } from "./lib/veil.ts"
import { VERSION } from "./lib/version.ts"
import { createLogs } from "./logs/logs.ts"
import { logRoutes } from "./logs/routes.ts"
import { teeLogger } from "./logs/tee.ts"
import { firstProvider } from "./models/first-provider.ts"
import { createModels } from "./models/models.ts"
import { modelRoutes } from "./models/routes.ts"
import { testCall } from "./models/test-call.ts"
import { BUILT_IN_PLANS, checkTiersInUse, createPlans } from "./plans/plans.ts"
import { planRoutes } from "./plans/routes.ts"
import { createPause } from "./platform/pause.ts"
import { platformRoutes } from "./platform/routes.ts"
import { createSignIn } from "./platform/sign-in.ts"
import { startRuntime } from "./runtime/start-runtime.ts"
import { createSandboxes } from "./sandboxes/sandboxes.ts"
import { checkMasterKey } from "./secrets/check-master-key.ts"
import { createRedactors } from "./secrets/redactors.ts"
import { secretRoutes } from "./secrets/routes.ts"
import { createSecrets } from "./secrets/secrets.ts"
import { closable } from "./start/close-server.ts"
import { builtInTemplates } from "./templates/built-in.ts"
import { templateRoutes } from "./templates/routes.ts"
import { createTemplates } from "./templates/templates.ts"
import { createBudgets, createUsage } from "./usage/usage.ts"
import type { Ender } from "./users/ender.ts"
import { createPurge } from "./users/purge.ts"
import { userRoutes } from "./users/routes.ts"
import { createUsers } from "./users/users.ts"
import { wireChat } from "./wire-chat.ts"
import { wireNetwork } from "./wire-network.ts"
import { wireSkills } from "./wire-skills.ts"

/** Answers that are under way when the server closes (files, reads) have this long. */
const CLOSE_MS = 10_000

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
  /** Runs before the sandbox is tried for the first time; may install what is missing. */
  beforeSandboxTest?: (isMissing: () => boolean, signal: AbortSignal) => Promise<void>
  /** Compare each answer with the contract (tests and development). */
  checkAnswers?: boolean
  /** Where a line for every answer goes, in JSON; left out: nowhere. */
  accessLog?: (lines: string) => void
}

export interface App extends AsyncDisposable {
  server: FastifyInstance
  /** What need not be there for the first answer: workers, the sandbox's self-test, what an earlier stop left over. */
  start(): void
  /** Opens the dashboard as administrator, once, within 10 minutes; null when there are users already. */
  welcomeLink(): Promise<string | null>
  /** From now on `/ready` says 503 and no new run is taken. */
  drain(): void
  /** Resolves when no run is under way. */
  idle(): Promise<void>
}

/** Builds every part and ties them together; this is the one place that knows them all. */
export async function createApp(options: AppOptions): Promise<App> {
  const { config, db, clock } = options
  let draining = false
  const stopping = new AbortController()
  const bootId = ids.boot()
  const owner = `${serverId(config.dataDir)}/${bootId}`
  const logs = createLogs({
    db,
    clock,
    log: options.log,
    keptMs: config.logDays * 24 * 3600_000,
    keptBytes: config.logMib * 2 ** 20,
  })
  const log = teeLogger(options.log, logs)
  const limits = createRateLimits()
  const keyFor = (use: string, bytes: number) => new Uint8Array(hkdfSync("sha256", options.masterKey, "", use, bytes))
  const sealKey = keyFor("idempotency", 32)
  const idempotency = createIdempotency({ db, clock, log, sealKey, bootId })
  const databaseAnswers = async () => {
    try {
      await sql`select 1`.execute(db.read)
      return true
    } catch {
      return false
    }
  }
  const plans = createPlans(config.plans ?? BUILT_IN_PLANS)
  const keys = createKeys({
    ...{ db, clock, plans, log },
    heard(userId) {
      const failed = (error: unknown) => log.error("what a user runs here could not be stopped", { userId, error })
      users.followUp(userId).catch(failed)
    },
  })
  const sandboxes = createSandboxes({
    kind: config.sandbox,
    dockerSocket: config.dockerSocket,
    dataDir: config.dataDir,
    log,
    idleMs: config.sandboxIdleMs,
    maxOpen: config.sandboxMaxOpen,
    now: clock.now,
    diskQuota: config.diskQuota,
    storageBytes: async (userId) => (await users.limits(userId))?.storage_bytes ?? null,
    ...(config.diskReserve === null ? {} : { diskReserve: config.diskReserve }),
    egress: wireNetwork({
      ...{ config, log, logs, publicUrl: options.publicUrl },
      parts: () => ({ agents, users, redactor }),
    }),
    ...(options.beforeSandboxTest === undefined ? {} : { beforeTest: () => provideSandbox() }),
  })
  const provideSandbox = async () => options.beforeSandboxTest?.(sandboxes.isMissing, stopping.signal)
  // Filled below with the parts that work for users in the background.
  const enders: Ender[] = [{ endUser: sandboxes.endUser, suspendUser: sandboxes.stopUser }]
  const purge = createPurge({ db, log, dataDir: config.dataDir, enders, removeFolder: sandboxes.removeFolder })
  const users = createUsers({ db, clock, plans, keys, purge, enders })
  checkTiersInUse(plans, await users.tiersInUse())
  await checkMasterKey(db, options.masterKey)
  await keys.setAdmin(options.adminKey)
  const runtime = startRuntime({
    log: (level, message) => log[level](message),
    ...(config.workers === null ? {} : { workers: config.workers }),
  })
  const secrets = createSecrets({ db, clock, masterKey: options.masterKey })
  const redactor = createRedactors(secrets)
  const budgets = createBudgets({ db, clock, limits: users.limits, platformUsdPerDay: config.platformUsdPerDay })
  const models = createModels({
    clock,
    log,
    defaultModel: config.defaultModel,
    demo: config.demo,
    platform: options.providers,
    firstProvider: await firstProvider(db, options.providers),
    userValues: secrets.providerValues,
    runtime,
    testCall: (call, signal) => testCall({ db, budgets, runtime, owner }, call, signal),
  })
  const templates = createTemplates({ db, clock, builtIn: builtInTemplates() })
  const usage = createUsage(db, clock)
  const agents = createAgents({
    ...{ db, clock, log, keys, users, models, templates, secrets, sandboxes, enders },
    takesChats: async ({ id, limits }) => !draining && !pause.paused() && !(await usage.isSpent(id, limits)),
  })
  const storage = createStorage({
    now: clock.now,
    limit: async (userId) => (await users.limits(userId))?.storage_bytes,
    owners: agents.owners,
    workspaceBytes: async (owner) => (await sandboxes.files(owner).usage(AbortSignal.timeout(60_000))).bytes,
    otherBytes: (userId) => keptBytes(db, userId),
  })
  const files = createFiles({
    ...{ db, clock, storage },
    workspace: sandboxes.files,
    hostUid: async (userId, agentId) => (await agents.forRun(userId, agentId))?.hostUid ?? null,
    setMemory: agents.setMemory,
  })
  enders.push({
    async endUser(userId) {
      secrets.forget(userId)
      storage.forget(userId)
    },
  })
  const skills = wireSkills({
    ...{ config, db, clock, log, secrets, storage },
    requireRoom: sandboxes.requireRoom,
    programs: sandboxes.programs,
  })
  enders.push({ endUser: skills.skills.endUser })
  const directory = createDirectory({ keys, users, agents })
  const pause = createPause({ db, clock, log })
  await pause.load()
  const status = {
    version: VERSION,
    ...{ db, clock },
    providers: options.providers,
    sandboxes: sandboxes.status,
    paused: pause.paused,
  }
  const {
    chat,
    routes: chatRoutes,
    gatewayRoutes,
  } = wireChat({
    ...{ db, clock, log, logs, bootId, runtime, budgets, models, templates, secrets, redactor, sandboxes },
    dataDir: config.dataDir,
    skills: skills.skills,
    limits: users.limits,
    paused: pause.paused,
    ensureStorage: storage.ensure,
    workspaceUsed: files.workspaceUsed,
  })
  enders.push(chat)
  await chat.recover()
  const signIn = createSignIn({ db, keys, clock })
  const routes: Route[] = [
    ...healthRoutes(async () => !draining && (await databaseAnswers())),
    ...planRoutes(plans),
    ...userRoutes(users, agents.all),
    ...agentRoutes(agents, options.publicUrl),
    ...templateRoutes(templates),
    ...fileRoutes(files),
    ...chatRoutes,
    ...modelRoutes(models),
    ...secretRoutes(secrets),
    ...skills.routes,
    ...auditRoutes(db),
    ...logRoutes(logs, createVeil(keyFor("log ids", 16))),
    ...platformRoutes({ status, pause, signIn, limits, publicUrl: options.publicUrl }),
  ]
  const accessLog = options.accessLog ? createAccessLog(options.accessLog, clock.now) : null
  const server = buildServer({
    // The gateway speaks another protocol: it stands beside the API and is not in its reference.
    routes: [...routes, ...gatewayRoutes],
    directory,
    log,
    idempotency,
    limits,
    publicUrl: options.publicUrl,
    trustedProxies: config.trustedProxies,
    corsOrigins: config.corsOrigins,
    pages: createPages({
      endpoints: routes.map((route) => route.endpoint),
      version: VERSION,
      publicUrl: options.publicUrl,
      dashboardDir: fileURLToPath(new URL("../../dashboard/dist", import.meta.url)),
    }),
    checkAnswers: options.checkAnswers ?? false,
    ...(accessLog ? { accessLog } : {}),
  })
  const connections = closable(server)
  return {
    server,
    start() {
      runtime.start()
      purge.kick()
      const failed = (error: unknown) => log.error("what an earlier stop left over could not be taken up", { error })
      agents.start().catch(failed)
      skills.start()
      sandboxes.reap(agents.ownerOf, stopping.signal).catch(failed)
      sandboxes.selfTest(stopping.signal).catch(failed)
    },
    async welcomeLink() {
      const user = await db.read.selectFrom("users").select("id").limit(1).executeTakeFirst()
      return user === undefined ? `${options.publicUrl()}/#token=${(await signIn.adminLink()).token}` : null
    },
    drain() {
      draining = true
      chat.close()
    },
    idle: () => chat.idle(),
    async [Symbol.asyncDispose]() {
      stopping.abort()
      await chat[Symbol.asyncDispose]()
      closeAllSse()
      await connections.close(CLOSE_MS)
      accessLog?.[Symbol.dispose]()
      await idempotency[Symbol.asyncDispose]()
      await pause[Symbol.asyncDispose]()
      await runtime[Symbol.asyncDispose]()
      // With the runtime end runs that would not let go: their ends are still stored.
      await withDeadline(chat.idle(), CLOSE_MS).catch(() => {})
      await agents[Symbol.asyncDispose]()
      await skills[Symbol.asyncDispose]()
      await purge[Symbol.asyncDispose]()
      await sandboxes[Symbol.asyncDispose]()
      // Sandboxes that close tell what their last connections moved.
      await logs[Symbol.asyncDispose]()
      await keys[Symbol.asyncDispose]()
    },
  }
}
