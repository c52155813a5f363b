import { type Agent, AgentConfigPatch, type NewAgent } from "@autonomis/contract/agents.ts"
import { auditStep } from "../audit/audit.ts"
import type { Database, Step } from "../db/database.ts"
import type { AgentRef, Origin, UserRef } from "../http/endpoint.ts"
import type { Keys } from "../keys/keys.ts"
import { type Clock, iso } from "../lib/clock.ts"
import { decodeCursor, page } from "../lib/cursor.ts"
import { AppError } from "../lib/errors.ts"
import { ids } from "../lib/ids.ts"
import type { Models } from "../models/models.ts"
import type { Users } from "../users/users.ts"
import { fullConfig, mergeConfig } from "./config.ts"
import { type AgentRow, agentStore } from "./store.ts"

export const noSuchAgent = (): AppError => new AppError("not_found", "agent not found")

export interface Agents {
  byName(userId: string, name: string): Promise<AgentRef | null>
  create(user: UserRef, input: readonly NewAgent[], origin: Origin): Promise<(Agent & { api_key: string })[]>
  get(userId: string, agentId: string): Promise<Agent>
  list(
    userId: string,
    query: { limit: number; cursor?: string | undefined },
  ): Promise<{ agents: Agent[]; next_cursor: string | null }>
  all(userId: string): Promise<Agent[]>
}

export interface AgentsOptions {
  db: Database
  clock: Clock
  keys: Keys
  users: Users
  models: Models
}

export function createAgents({ db, clock, keys, users, models }: AgentsOptions): Agents {
  const store = agentStore(db)

  const view = async (userId: string, row: AgentRow): Promise<Agent> => {
    const config = fullConfig(storedConfig(row.config))
    return {
      name: row.name,
      description: row.description,
      default: row.is_default === 1,
      model: await models.effective({ userId, agentId: row.id, wanted: config.model }),
      state: row.running ? "running" : "ready",
      config,
      created_at: iso(row.created_at),
      last_active_at: row.last_active_at === null ? null : iso(row.last_active_at),
    }
  }
  const views = (userId: string, rows: AgentRow[]) => Promise.all(rows.map((row) => view(userId, row)))
  const get = async (userId: string, agentId: string) => {
    const row = await store.byId(userId, agentId)
    if (row === null) throw noSuchAgent()
    return view(userId, row)
  }

  return {
    byName: (userId, name) => store.byName(userId, name),
    get,
    async list(userId, { limit, cursor }) {
      const after = decodeCursor(cursor, ["string"])?.[0] ?? null
      const { rows, nextCursor } = page(await store.list(userId, after, limit + 1), limit, (row) => [row.name])
      return { agents: await views(userId, rows), next_cursor: nextCursor }
    },
    async all(userId) {
      return views(userId, await store.list(userId, null, null))
    },

    async create(user, input, origin) {
      checkTogether(input)
      const now = clock.now()
      const max = user.limits.agents
      const tooMany = () =>
        new AppError("plan_limit", `your plan allows ${max} agents`, { extra: { limit: "agents", max } })
      const steps: Step[] = [users.lock(user), store.drawHostUids(input.length)]
      if (max !== null) steps.push(store.room(user.id, input.length, max, tooMany))
      if (input.some((agent) => agent.default)) steps.push(store.clearDefault(user.id))
      const made: { id: string; apiKey: string }[] = []
      for (const [i, agent] of input.entries()) {
        const id = ids.agent()
        const config = configOf(agent)
        await models.check(user.id, config.model ?? null)
        const taken = () => new AppError("conflict", `the agent ${JSON.stringify(agent.name)} exists already`)
        const row = {
          id,
          name: agent.name,
          description: agent.description ?? null,
          config: JSON.stringify(config),
          deploy: "[]",
          memory: "",
          prompt_version: 1,
          created_at: now,
          last_active_at: null,
        }
        const { key, step } = keys.issue({ kind: "agent", userId: user.id, agentId: id })
        const change = { userId: user.id, action: "agents.create", target: `agent:${user.name}/${agent.name}` }
        steps.push(
          store.insert(user.id, row, input.length - 1 - i, agent.default === true, taken),
          step,
          auditStep(db, origin, change, now),
        )
        made.push({ id, apiKey: key })
      }
      await db.batch(steps)
      return Promise.all(made.map(async ({ id, apiKey }) => ({ ...(await get(user.id, id)), api_key: apiKey })))
    },
  }
}

/** `model` beside `config` is a short form of `config.model`. */
function configOf(agent: NewAgent): AgentConfigPatch {
  if (agent.model && agent.config?.model && agent.model !== agent.config.model)
    throw new AppError("invalid_request", `the agent ${JSON.stringify(agent.name)} names two models`)
  return mergeConfig({}, { ...agent.config, ...(agent.model ? { model: agent.model } : {}) })
}

/** What no schema of one agent can see. */
function checkTogether(input: readonly NewAgent[]): void {
  const names = input.map((agent) => agent.name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw new AppError("invalid_request", `the agent ${JSON.stringify(twice)} is named twice`)
  if (input.filter((agent) => agent.default).length > 1)
    throw new AppError("invalid_request", "only one agent can be the default")
}

/** Settings that an older program stored and this one no longer knows are left out. */
function storedConfig(text: string): AgentConfigPatch {
  const stored = AgentConfigPatch.safeParse(JSON.parse(text))
  return stored.success ? stored.data : {}
}
