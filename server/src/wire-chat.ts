import type { Limits } from "@autonomis/contract/plans.ts"
import { egressPolicies } from "./agents/agents.ts"
import { fullConfig, storedConfig } from "./agents/config.ts"
import { type Chat, createChat } from "./chat/chat.ts"
import { gatewayRoutes } from "./chat/gateway/routes.ts"
import type { ChatPorts } from "./chat/ports.ts"
import { chatRoutes } from "./chat/routes.ts"
import { serverId } from "./chat/server-id.ts"
import type { Database } from "./db/database.ts"
import type { Route } from "./http/endpoint.ts"
import type { Clock } from "./lib/clock.ts"
import { AppError } from "./lib/errors.ts"
import type { Logger } from "./lib/log.ts"
import type { Redactor } from "./lib/redact.ts"
import type { Logs } from "./logs/logs.ts"
import type { Models } from "./models/models.ts"
import type { Runtime } from "./runtime/client.ts"
import type { Hands } from "./runtime/hands.ts"
import type { SandboxSpec } from "./sandboxes/driver.ts"
import type { AgentSecrets, Sandboxes } from "./sandboxes/sandboxes.ts"
import type { Secrets } from "./secrets/secrets.ts"
import type { PromptSkill } from "./skills/prompt.ts"
import type { Templates } from "./templates/templates.ts"
import { usageRoutes } from "./usage/routes.ts"
import { type Budgets, createUsage } from "./usage/usage.ts"

/** The part of the skills that a chat needs; null while there are none. */
export interface ChatSkills {
  forPrompt(userId: string, agentId: string): Promise<PromptSkill[]>
  called(userId: string, agentId: string, text: string): Promise<PromptSkill | null>
  mount(userId: string): Promise<{ source: string; target: string }>
}

export interface ChatWiring {
  db: Database
  clock: Clock
  log: Logger
  logs: Logs
  dataDir: string
  bootId: string
  limits(userId: string): Promise<Limits | null>
  runtime: Runtime
  budgets: Budgets
  models: Models
  templates: Templates
  skills: ChatSkills | null
  secrets: Pick<Secrets, "environment">
  redactor(userId: string): Promise<Redactor>
  sandboxes: Sandboxes
  paused(): boolean
  /** 403 `plan_limit` when so many more bytes do not fit the user's plan. */
  ensureStorage(userId: string, moreBytes: number): Promise<void>
  /** A run that used its agent's workspace has ended. */
  workspaceUsed(userId: string, agentId: string): Promise<void>
}

/** Ties `chat/` and `usage/` to the domains that they ask. */
export function wireChat(wiring: ChatWiring): { chat: Chat; routes: Route[]; gatewayRoutes: Route[] } {
  const { db, clock, limits, models, templates, skills, sandboxes, logs } = wiring

  const agentRow = (userId: string, agentId: string) =>
    db.read
      .selectFrom("agents")
      .select(["name", "description", "config", "memory", "host_uid"])
      .where("id", "=", agentId)
      .where("user_id", "=", userId)
      .executeTakeFirst()

  async function spec(userId: string, agentId: string): Promise<SandboxSpec> {
    const [row, limit] = await Promise.all([agentRow(userId, agentId), limits(userId)])
    if (row === undefined || limit === null) throw new AppError("not_found", "agent not found")
    const { memory_bytes, cpus, pids } = limit.sandbox
    return {
      id: agentId,
      userId,
      hostUid: row.host_uid,
      limits: { memoryBytes: memory_bytes, cpus, pids, storageBytes: limit.storage_bytes },
      network: egressPolicies(fullConfig(storedConfig(row.config)), limit) === null ? "none" : "egress",
      readOnlyMounts: skills === null ? [] : [await skills.mount(userId)],
    }
  }

  async function secretsOf(userId: string, agentId: string): Promise<AgentSecrets> {
    const [env, redactor] = await Promise.all([wiring.secrets.environment(userId, agentId), wiring.redactor(userId)])
    return { env, redactor }
  }

  const ports: ChatPorts = {
    async agent(userId, agentId) {
      const row = await agentRow(userId, agentId)
      if (row === undefined) return null
      const { name, description, memory } = row
      return { name, description, memory, config: fullConfig(storedConfig(row.config)) }
    },
    async templates(userId, agentId) {
      const four = await templates.effective(userId, agentId)
      return { soul: four["SOUL.md"], user: four["USER.md"], tools: four["TOOLS.md"] }
    },
    skills: async (userId, agentId) => skills?.forPrompt(userId, agentId) ?? [],
    calledSkill: async (userId, agentId, text) => skills?.called(userId, agentId, text) ?? null,
    model: (userId, agentId, wanted) => models.resolve({ userId, agentId, wanted }),
    hands: ({ userId, agentId }) =>
      asked(async () => sandboxes.hands(await spec(userId, agentId), { secrets: () => secretsOf(userId, agentId) })),
    limits,
    ensureStorage: wiring.ensureStorage,
    handsUsed: wiring.workspaceUsed,
    paused: wiring.paused,
    log: (entry) => logs.write(entry),
  }

  const { runtime, budgets, log, dataDir } = wiring
  const owner = { server: serverId(dataDir), boot: wiring.bootId }
  const chat = createChat({ db, clock, log, runtime, budgets, ports, dataDir, owner })
  return {
    chat,
    routes: [...chatRoutes(chat), ...usageRoutes(createUsage(db, clock))],
    gatewayRoutes: gatewayRoutes(chat),
  }
}

/** Hands that are asked for at each call: a changed network or plan counts from the next command on. */
function asked(hands: () => Promise<Hands>): Hands {
  return {
    exec: async (...args) => (await hands()).exec(...args),
    readFile: async (...args) => (await hands()).readFile(...args),
    writeFile: async (...args) => (await hands()).writeFile(...args),
    stat: async (...args) => (await hands()).stat(...args),
    list: async (...args) => (await hands()).list(...args),
    mkdir: async (...args) => (await hands()).mkdir(...args),
    remove: async (...args) => (await hands()).remove(...args),
    rename: async (...args) => (await hands()).rename(...args),
  }
}
