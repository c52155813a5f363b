import { TEMPLATE_NAMES, type TemplateName, type TemplateTexts } from "@autonomis/contract/templates.ts"
import { auditStep } from "../audit/audit.ts"
import type { Database, Step } from "../db/database.ts"
import { lockUser } from "../db/lock-user.ts"
import type { AgentRef, Origin, UserRef } from "../http/endpoint.ts"
import type { Clock } from "../lib/clock.ts"
import { type Place, type Texts, templateStore } from "./store.ts"

export type FourTexts = Record<TemplateName, string>
type Sources<S extends string> = Record<TemplateName, S>

export interface Templates {
  platform(): Promise<{ templates: FourTexts; source: Sources<"builtin" | "platform"> }>
  setPlatform(texts: TemplateTexts, origin: Origin): ReturnType<Templates["platform"]>
  user(userId: string): Promise<{ templates: FourTexts; source: Sources<"platform" | "user"> }>
  setUser(user: UserRef, texts: TemplateTexts, origin: Origin): ReturnType<Templates["user"]>
  agent(
    userId: string,
    agentId: string,
  ): Promise<{ templates: Texts; effective: FourTexts; source: Sources<"platform" | "user" | "agent"> }>
  setAgent(user: UserRef, agent: AgentRef, texts: TemplateTexts, origin: Origin): ReturnType<Templates["agent"]>
  /** The four texts that an agent reads at the start of a conversation. */
  effective(userId: string, agentId: string): Promise<FourTexts>
  /** What sets a new agent's own texts, for the batch that makes it. */
  newAgentSteps(userId: string, agentId: string, texts: TemplateTexts): Step[]
}

const PLATFORM: Place = { scope: "platform", ownerId: "", userId: null }
const ofUser = (userId: string): Place => ({ scope: "user", ownerId: userId, userId })
const ofAgent = (userId: string, agentId: string): Place => ({ scope: "agent", ownerId: agentId, userId })

export interface TemplatesOptions {
  db: Database
  clock: Clock
  builtIn: FourTexts
}

export function createTemplates({ db, clock, builtIn }: TemplatesOptions): Templates {
  const store = templateStore(db)

  const set = async (place: Place, texts: TemplateTexts, origin: Origin, action: string, target: string) => {
    const now = clock.now()
    await db.batch([
      ...(place.userId === null ? [] : [lockUser(db, place.userId)]),
      ...store.merge(place, texts, now),
      store.raisePromptVersion(place),
      auditStep(db, origin, { userId: place.userId, action, target }, now),
    ])
  }
  const platform: Templates["platform"] = async () => {
    const set = await store.read([PLATFORM])
    const { texts, source } = layer([
      ["builtin", builtIn],
      ["platform", set.platform],
    ])
    return { templates: texts, source }
  }
  const user: Templates["user"] = async (userId) => {
    const set = await store.read([PLATFORM, ofUser(userId)])
    const { texts, source } = layer([
      ["platform", { ...builtIn, ...set.platform }],
      ["user", set.user],
    ])
    return { templates: texts, source }
  }
  const agent: Templates["agent"] = async (userId, agentId) => {
    const set = await store.read([PLATFORM, ofUser(userId), ofAgent(userId, agentId)])
    const { texts, source } = layer([
      ["platform", { ...builtIn, ...set.platform }],
      ["user", set.user],
      ["agent", set.agent],
    ])
    return { templates: set.agent, effective: texts, source }
  }

  return {
    platform,
    user,
    agent,
    async setPlatform(texts, origin) {
      await set(PLATFORM, texts, origin, "templates.platformPut", "platform")
      return platform()
    },
    async setUser({ id, name }, texts, origin) {
      await set(ofUser(id), texts, origin, "templates.userPut", `user:${name}`)
      return user(id)
    },
    async setAgent({ id, name }, { id: agentId, name: agentName }, texts, origin) {
      await set(ofAgent(id, agentId), texts, origin, "templates.agentPut", `agent:${name}/${agentName}`)
      return agent(id, agentId)
    },
    effective: async (userId, agentId) => (await agent(userId, agentId)).effective,
    newAgentSteps: (userId, agentId, texts) => store.merge(ofAgent(userId, agentId), texts, clock.now()),
  }
}

/** The last layer that has a text gives it. */
function layer<S extends string>(
  layers: readonly [readonly [S, FourTexts], ...(readonly [S, Texts])[]],
): { texts: FourTexts; source: Sources<S> } {
  const [[firstSource, first], ...rest] = layers
  const texts = { ...first }
  const source: Sources<S> = {
    "SOUL.md": firstSource,
    "USER.md": firstSource,
    "TOOLS.md": firstSource,
    "HEARTBEAT.md": firstSource,
  }
  for (const [name, set] of rest) {
    for (const template of TEMPLATE_NAMES) {
      const text = set[template]
      if (text === undefined) continue
      texts[template] = text
      source[template] = name
    }
  }
  return { texts, source }
}
