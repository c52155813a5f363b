import { setTimeout as sleep } from "node:timers/promises"
import type { Agent, AgentConfig, AgentConfigPatch, DeployStatus, NewAgent } from "@autonomis/contract/agents.ts"
import { auditStep } from "../audit/audit.ts"
import type { Database, Step } from "../db/database.ts"
import { lockUser } from "../db/lock-user.ts"
import type { AgentRef, Origin, Principal, UserRef } from "../http/endpoint.ts"
import type { Keys } from "../keys/keys.ts"
import { type Awaitable, whenBoth, whenThere } from "../lib/awaitable.ts"
import { type Clock, iso } from "../lib/clock.ts"
import { decodeCursor, page } from "../lib/cursor.ts"
import { AppError } from "../lib/errors.ts"
import type { Logger } from "../lib/log.ts"
import type { Models, UserModels } from "../models/models.ts"
import type { SandboxSpec } from "../sandboxes/driver.ts"
import type { Sandboxes } from "../sandboxes/sandboxes.ts"
import type { Secrets, SecretsBody } from "../secrets/secrets.ts"
import type { Templates } from "../templates/templates.ts"
import { askEnders, type Ender, type Users } from "../users/users.ts"
import { configOf, fullConfig, mergeConfig, storedConfig } from "./config.ts"
import { prepareAgents } from "./create.ts"
import { createDeployer } from "./deployer.ts"
import { deployStatus, stateOf } from "./deployment.ts"
import { egressPolicies, requireNetwork } from "./network.ts"
import { type AgentRow, agentStore } from "./store.ts"

export { egressPolicies }

export const noSuchAgent = (): AppError => new AppError("not_found", "agent not found")

const DEPLOY_MOMENT_MS = 100
const TOKEN_MS = 3600_000
const REMOVED_AT_ONCE = 1000

class ChangedMeanwhile extends Error {
  override readonly name = "ChangedMeanwhile"
}

/** What a run, and whoever opens its sandbox, needs to know of an agent. */
export interface RunAgent {
  name: string
  description: string | null
  config: AgentConfig
  /** Text of MEMORY.md; "" when there is none. */
  memory: string
  /** Goes up with each change that a session's frozen prompt must follow. */
  promptVersion: number
  hostUid: number
}

export interface Ping {
  online: boolean
  latency_ms: number
  model: "ready" | "missing_key" | "demo"
  sandbox: "idle" | "running" | "failed"
  checked_at: string
}

export interface Agents extends AsyncDisposable {
  /** Takes up what an earlier stop left over. */
  start(): Promise<void>
  byName(userId: string, name: string): Awaitable<AgentRef | null>
  create(
    user: UserRef,
    input: readonly NewAgent[],
    secrets: SecretsBody | undefined,
    origin: Origin,
  ): Promise<(Agent & { api_key: string })[]>
  get(userId: string, agentId: string): Awaitable<Agent>
  list(
    userId: string,
    query: { limit: number; cursor?: string | undefined },
  ): Promise<{ agents: Agent[]; next_cursor: string | null }>
  all(userId: string): Promise<Agent[]>
  update(
    user: UserRef,
    agent: AgentRef,
    change: { description?: string | null | undefined; default?: true | undefined },
    origin: Origin,
  ): Promise<Agent>
  configure(user: UserRef, agent: AgentRef, patch: AgentConfigPatch, origin: Origin): Promise<Agent>
  delete(user: UserRef, agent: AgentRef, origin: Origin): Promise<void>
  rotateKey(user: UserRef, agent: AgentRef, graceSeconds: number, origin: Origin): Promise<{ api_key: string }>
  ping(user: UserRef, agent: AgentRef): Promise<Ping>
  /**
   * A token for the gateway that lives for an hour, and no longer than the key that asked for it. Without `use` it is one
   * that opens nothing: for the headers alone.
   */
  connect(
    user: UserRef,
    agent: AgentRef,
    principal: Principal,
    use: boolean,
    origin: Origin,
  ): Promise<{ token: string; expiresAt: number }>
  deployStatus(userId: string): Promise<DeployStatus>
  /** Resolves when the deployment may have come further. */
  deployChanged(userId: string, signal: AbortSignal): Promise<void>
  /** Null when the agent is gone. */
  forRun(userId: string, agentId: string): Promise<RunAgent | null>
  /** Ids and host uids of a user's agents. */
  owners(userId: string): Promise<Pick<SandboxSpec, "id" | "userId" | "hostUid">[]>
  /** The user of an agent that may run something; null for one that is gone or whose user may not. */
  ownerOf(agentId: string): Promise<string | null>
  setMemory(userId: string, agentId: string, text: string): Promise<void>
}

export interface AgentsOptions {
  db: Database
  clock: Clock
  log: Logger
  keys: Keys
  users: Users
  models: Models
  templates: Templates
  secrets: Secrets
  sandboxes: Pick<Sandboxes, "files" | "selfTest" | "problem" | "stateOf" | "destroy">
  enders: readonly Ender[]
  /** Would a chat of this user be taken now, as far as others know: not while the server drains or is paused. */
  takesChats(user: UserRef): Promise<boolean>
}

export function createAgents(options: AgentsOptions): Agents {
  const { db, clock, log, keys, users, models, templates, secrets, sandboxes, enders } = options
  const store = agentStore(db)
  const deployer = createDeployer({ store, clock, log, models, sandboxes })
  const stop = new AbortController()
  let removing: Promise<void> = Promise.resolve()

  const audit = (origin: Origin, user: UserRef, agent: AgentRef, action: string) =>
    auditStep(db, origin, { userId: user.id, action, target: `agent:${user.name}/${agent.name}` }, clock.now())

  /** What was last shown of a row, which is written to JSON once for as long as nothing of it changes. */
  const shown = new WeakMap<AgentRow, { model: string; state: Agent["state"]; agent: Readonly<Agent> }>()
  const view = (row: AgentRow, usable: UserModels): Readonly<Agent> => {
    const config = configOf(row)
    const model = usable.effective({ agentId: row.id, wanted: config.model })
    return show(row, config, model, stateOf(deployer.stepsOf(row, usable), Boolean(row.running)))
  }
  function show(row: AgentRow, config: Agent["config"], model: string, state: Agent["state"]): Readonly<Agent> {
    const before = shown.get(row)
    if (before?.model === model && before.state === state) return before.agent
    const agent = Object.freeze({
      name: row.name,
      description: row.description,
      default: row.is_default === 1,
      model,
      state,
      config,
      created_at: iso(row.created_at),
      last_active_at: row.last_active_at === null ? null : iso(row.last_active_at),
    })
    shown.set(row, { model, state, agent })
    return agent
  }
  const views = async (userId: string, rows: AgentRow[]) => {
    const usable = await models.of(userId)
    return rows.map((row) => view(row, usable))
  }
  const rowOf = (userId: string, agentId: string) =>
    whenThere(store.byId(userId, agentId), (row) => {
      if (row === null) throw noSuchAgent()
      return row
    })
  const get = (userId: string, agentId: string) => whenBoth(rowOf(userId, agentId), models.of(userId), view)

  /** Removes files and rows of agents that are gone, a few at a time; what a stop leaves over the next start takes up. */
  async function removeRest(): Promise<void> {
    for (const removed of await store.removed()) {
      try {
        await sandboxes.destroy(removed, stop.signal)
      } catch (error) {
        // One whose disk cannot be opened holds up no other.
        if (!stop.signal.aborted) log.error("a removed agent's files are still there", { agent: removed.id, error })
        continue
      }
      while (!stop.signal.aborted && (await store.removeSome(removed.id, REMOVED_AT_ONCE)))
        await new Promise(setImmediate)
    }
  }
  function removeSoon(): void {
    removing = removing
      .then(removeRest)
      .catch((error: unknown) => log.error("what agents that are gone have left could not be removed", { error }))
  }

  return {
    byName: (userId, name) => store.byName(userId, name),
    get,
    async start() {
      removeSoon()
      for (const { id, user_id } of await store.undeployed(1000)) {
        const row = await store.byId(user_id, id)
        if (row !== null) void deployer.deploy(row)
      }
    },

    async list(userId, { limit, cursor }) {
      const after = decodeCursor(cursor, ["string"])?.[0] ?? null
      const { rows, nextCursor } = page(await store.list(userId, after, limit + 1), limit, (row) => [row.name])
      return { agents: await views(userId, rows), next_cursor: nextCursor }
    },

    async all(userId) {
      return views(userId, await store.list(userId, null, null))
    },

    async create(user, input, secretsInput, origin) {
      const { steps, made } = await prepareAgents({
        user,
        input,
        origin,
        now: clock.now(),
        db,
        store,
        keys,
        models,
        templates,
      })
      const ids = new Map(made.map(({ name, id }) => [name, id]))
      const secretSteps = secretsInput === undefined ? [] : await secrets.putSteps(user, secretsInput, ids, origin)
      await db.batch([users.lock(user), ...steps, ...secretSteps])
      secrets.forget(user.id)
      const rows = await Promise.all(made.map(({ id }) => rowOf(user.id, id)))
      // Nearly always all is done within a few milliseconds, and then the answer can say so.
      const deployed = Promise.all(rows.map((row) => deployer.deploy(row)))
      await Promise.race([deployed, sleep(DEPLOY_MOMENT_MS, undefined, { ref: false })])
      return Promise.all(made.map(async ({ id, apiKey }) => ({ ...(await get(user.id, id)), api_key: apiKey })))
    },

    async update(user, agent, change, origin) {
      const steps: Step[] = []
      if (change.default) {
        steps.push(store.clearDefault(user.id), store.update(user.id, agent.id, { is_default: 1 }, noSuchAgent))
      }
      if (change.description !== undefined) {
        const { description } = change
        steps.push(
          store.update(user.id, agent.id, { description }, noSuchAgent),
          store.raisePromptVersion(user.id, agent.id),
        )
      }
      if (steps.length > 0)
        await db.batch([lockUser(db, user.id), ...steps, audit(origin, user, agent, "agents.update")])
      return get(user.id, agent.id)
    },

    async configure(user, agent, patch, origin) {
      requireNetwork(patch, user.limits)
      await models.check(user.id, patch.model ?? null)
      for (;;) {
        const { config: was } = await rowOf(user.id, agent.id)
        const config = JSON.stringify(mergeConfig(storedConfig(was), patch))
        try {
          await db.batch([
            lockUser(db, user.id),
            store.configure(user.id, agent.id, was, config, () => new ChangedMeanwhile()),
            audit(origin, user, agent, "agents.configure"),
          ])
          return await get(user.id, agent.id)
        } catch (error) {
          // Another patch came in between: this one goes on top of it.
          if (!(error instanceof ChangedMeanwhile)) throw error
        }
      }
    },

    async delete(user, agent, origin) {
      const { host_uid: hostUid } = await rowOf(user.id, agent.id)
      const owner = { id: agent.id, userId: user.id, hostUid }
      await keys.commit(user.id, [
        lockUser(db, user.id),
        ...store.remove(owner, noSuchAgent),
        keys.revokeAgent(user.id, agent.id),
        audit(origin, user, agent, "agents.delete"),
      ])
      await askEnders(enders, (ender) => ender.endAgent?.(owner))
      await sandboxes.destroy(owner, stop.signal)
      removeSoon()
    },

    async rotateKey(user, agent, graceSeconds, origin) {
      const owner = { kind: "agent", userId: user.id, agentId: agent.id } as const
      const { key, steps } = keys.rotate(owner, graceSeconds * 1000)
      await keys.commit(user.id, [lockUser(db, user.id), ...steps, audit(origin, user, agent, "agents.rotateKey")])
      return { api_key: key }
    },

    async ping(user, agent) {
      const startedAt = performance.now()
      const row = await rowOf(user.id, agent.id)
      const wanted = storedConfig(row.config).model ?? null
      const [model, openRuns, taken] = await Promise.all([
        models.state({ userId: user.id, agentId: agent.id, wanted }),
        store.openRuns(user.id),
        options.takesChats(user),
      ])
      const most = user.limits.concurrent_runs
      const online = taken && model !== "missing_key" && user.state === "active" && (most === null || openRuns < most)
      const latency = Math.round((performance.now() - startedAt) * 100) / 100
      const sandbox = sandboxes.stateOf(agent.id)
      return { online, latency_ms: latency, model, sandbox, checked_at: iso(clock.now()) }
    },

    async connect(user, agent, principal, use, origin) {
      const expiresAt = clock.now() + TOKEN_MS
      const owner = { kind: "gateway", userId: user.id, agentId: agent.id } as const
      const { key, step } = keys.issue({ ...owner, parentHash: principal.keyHash, expiresAt })
      if (use) await db.batch([lockUser(db, user.id), step, audit(origin, user, agent, "agents.connect")])
      return { token: key, expiresAt }
    },

    async deployStatus(userId) {
      const [rows, usable] = await Promise.all([store.list(userId, null, null), models.of(userId)])
      const deployed = rows.map(async (row) => {
        const steps = deployer.stepsOf(row, usable)
        await deployer.remember(row, steps)
        return { name: row.name, steps, running: Boolean(row.running) }
      })
      return deployStatus(await Promise.all(deployed))
    },
    deployChanged: (userId, signal) => deployer.changed(userId, signal),

    async forRun(userId, agentId) {
      const row = await store.forRun(userId, agentId)
      if (row === null) return null
      const { name, description, memory, prompt_version: promptVersion, host_uid: hostUid } = row
      return { name, description, config: fullConfig(storedConfig(row.config)), memory, promptVersion, hostUid }
    },
    async owners(userId) {
      const rows = await store.list(userId, null, null)
      return rows.map((row) => ({ id: row.id, userId, hostUid: row.host_uid }))
    },
    ownerOf: store.ownerOf,
    setMemory: (userId, agentId, text) => store.setMemory(userId, agentId, text),

    async [Symbol.asyncDispose]() {
      stop.abort()
      await deployer[Symbol.asyncDispose]()
      await removing
    },
  }
}
