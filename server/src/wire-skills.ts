import { setTimeout as sleep } from "node:timers/promises"
import type { Config } from "./config.ts"
import type { Database } from "./db/database.ts"
import type { Storage } from "./files/storage.ts"
import type { Route } from "./http/endpoint.ts"
import type { Clock } from "./lib/clock.ts"
import type { Logger } from "./lib/log.ts"
import { PROVIDER_VARIABLES } from "./runtime/providers.ts"
import type { Secrets } from "./secrets/secrets.ts"
import { hostBinaries } from "./skills/binaries.ts"
import { startNightly } from "./skills/nightly.ts"
import { createRegistry } from "./skills/registry.ts"
import { registryHttp } from "./skills/registry-http.ts"
import { skillRoutes } from "./skills/routes.ts"
import { createSkills, type Skills } from "./skills/skills.ts"

/** All that one call of ours asks the registry is over by then. */
const REGISTRY_BUDGET_MS = 18_000
/** When the registry is asked again about what is installed, UTC. */
const RECHECK_HOUR = 3

export interface SkillWiring {
  config: Pick<Config, "dataDir" | "clawhubUrl" | "sandbox">
  db: Database
  clock: Clock
  log: Logger
  secrets: Pick<Secrets, "environment" | "list">
  storage: Pick<Storage, "ensure" | "changed">
  /** 409 while the disk is nearly full. */
  requireRoom(): Promise<void>
  /** Of sandboxes that bring their own. */
  programs(): ReadonlySet<string>
}

export interface WiredSkills extends AsyncDisposable {
  skills: Skills
  routes: Route[]
  /** Mends what an earlier stop left, and begins the nightly work. */
  start(): void
}

/** Ties `skills/` to secrets, storage, sandboxes and the registry. */
export function wireSkills({ config, db, clock, log, secrets, storage, ...sandboxes }: SkillWiring): WiredSkills {
  const seenIn = config.sandbox === "none" ? "host" : "sandbox"
  const wait = (ms: number, signal: AbortSignal) => sleep(ms, undefined, { signal })
  const http = registryHttp({ url: config.clawhubUrl, wait, now: clock.now, budgetMs: REGISTRY_BUDGET_MS })
  const skills = createSkills({
    ...{ db, clock, log, seenIn, dataDir: config.dataDir },
    registry: createRegistry(http),
    registryUrl: config.clawhubUrl,
    async secretKeys(userId, agentId) {
      if (agentId !== null) return Object.keys(await secrets.environment(userId, agentId))
      return (await secrets.list(userId)).map((secret) => secret.key).filter((key) => !PROVIDER_VARIABLES.has(key))
    },
    binaries: config.sandbox === "docker" ? async () => sandboxes.programs() : hostBinaries(clock, seenIn),
    async ensureStorage(userId, moreBytes) {
      await sandboxes.requireRoom()
      await storage.ensure(userId, moreBytes)
    },
    storageChanged: storage.changed,
  })
  const stop = new AbortController()
  let sweeping: Promise<void> = Promise.resolve()
  let nightly: AsyncDisposable | null = null
  return {
    skills,
    routes: skillRoutes(skills),
    start() {
      sweeping = skills.sweep(stop.signal).catch((error: unknown) => {
        log.error("what an earlier stop left of skills could not be mended", { error })
      })
      nightly = startNightly({ clock, log, hour: RECHECK_HOUR, work: skills.recheckIfDue })
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await nightly?.[Symbol.asyncDispose]()
      await sweeping
    },
  }
}
