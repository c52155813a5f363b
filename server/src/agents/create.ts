import type { AgentConfigPatch, NewAgent } from "@autonomis/contract/agents.ts"
import { auditStep } from "../audit/audit.ts"
import type { Database, Step } from "../db/database.ts"
import type { Origin, UserRef } from "../http/endpoint.ts"
import type { Keys } from "../keys/keys.ts"
import { AppError } from "../lib/errors.ts"
import { ids } from "../lib/ids.ts"
import type { Models } from "../models/models.ts"
import type { Templates } from "../templates/templates.ts"
import { mergeConfig } from "./config.ts"
import { startedSteps } from "./deployment.ts"
import { requireNetwork } from "./network.ts"
import type { AgentStore } from "./store.ts"

interface Parts {
  user: UserRef
  input: readonly NewAgent[]
  origin: Origin
  now: number
  db: Database
  store: AgentStore
  keys: Keys
  models: Models
  templates: Templates
}

/** What makes new agents, all or none, to be run behind the user's lock; and what was made, with the keys in clear. */
export async function prepareAgents(parts: Parts): Promise<{
  steps: Step[]
  made: { id: string; name: string; apiKey: string }[]
}> {
  const { user, input, store } = parts
  checkTogether(input)
  const max = user.limits.agents
  const tooMany = () =>
    new AppError("plan_limit", `your plan allows ${max} agents`, { extra: { limit: "agents", max } })
  const steps: Step[] = []
  if (max !== null) steps.push(store.room(user.id, input.length, max, tooMany))
  steps.push(store.drawHostUids(input.length))
  const chosen = input.some((agent) => agent.default)
  if (chosen) steps.push(store.clearDefault(user.id))
  const made: { id: string; name: string; apiKey: string }[] = []
  for (const [i, agent] of input.entries()) {
    const id = ids.agent()
    const { key, steps: own } = await stepsOf(parts, agent, id, chosen, input.length - 1 - i)
    steps.push(...own)
    made.push({ id, name: agent.name, apiKey: key })
  }
  return { steps, made }
}

async function stepsOf(
  { user, origin, now, db, store, keys, models, templates }: Parts,
  agent: NewAgent,
  id: string,
  chosen: boolean,
  fromLast: number,
): Promise<{ key: string; steps: Step[] }> {
  const config = configOf(agent)
  requireNetwork(config, user.limits)
  await models.check(user.id, config.model ?? null)
  const taken = () => new AppError("conflict", `the agent ${JSON.stringify(agent.name)} exists already`)
  const row = {
    id,
    name: agent.name,
    description: agent.description ?? null,
    config: JSON.stringify(config),
    deploy: JSON.stringify(startedSteps(now)),
    memory: "",
    prompt_version: 1,
    created_at: now,
    last_active_at: null,
  }
  const { key, step } = keys.issue({ kind: "agent", userId: user.id, agentId: id })
  const change = { userId: user.id, action: "agents.create", target: `agent:${user.name}/${agent.name}` }
  return {
    key,
    steps: [
      store.insert(user.id, row, fromLast, chosen ? agent.default === true : null, taken),
      step,
      ...templates.newAgentSteps(user.id, id, agent.templates ?? {}),
      auditStep(db, origin, change, now),
    ],
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
