import type { AgentConfig } from "@autonomis/contract/agents.ts"
import type { Limits } from "@autonomis/contract/plans.ts"
import type { Hands } from "../runtime/hands.ts"
import type { Credentials, PromptParts } from "../runtime/protocol.ts"

/** What a message needs to know of its agent, as it is when the message's turn comes. */
export interface RunAgent {
  name: string
  description: string | null
  config: AgentConfig
  /** Text of MEMORY.md; "" when there is none. */
  memory: string
}

export interface ResolvedModel {
  /** `provider/model`. */
  model: string
  credentials: Credentials
}

export interface RunLogEntry {
  userId: string
  agentId: string
  agentName: string
  runId: string
  level: "debug" | "info" | "warn" | "error"
  source: "sandbox" | "agent"
  message: string
}

/** What `chat/` asks of the other domains; tied to them in `app.ts`. */
export interface ChatPorts {
  /** Null when the agent is gone. */
  agent(userId: string, agentId: string): Promise<RunAgent | null>
  /** The four effective texts. */
  templates(userId: string, agentId: string): Promise<{ soul: string; user: string; tools: string }>
  skills(userId: string, agentId: string): Promise<PromptParts["skills"]>
  /** The skill that a user's message calls by `/name` at its front; null when it calls none. */
  calledSkill(userId: string, agentId: string, text: string): Promise<{ name: string; path: string } | null>
  /**
   * The model that a message would use: the one that it or the agent's config names, else (null) the default.
   * 400 for one that nobody knows, 424 for one whose key is not set.
   */
  model(userId: string, agentId: string, wanted: string | null): Promise<ResolvedModel>
  /** Bound to the agent and its sandbox; opens nothing before the first call. */
  hands(run: { userId: string; agentId: string; runId: string }): Hands
  /** The user's limits now; null when the user is gone or going. */
  limits(userId: string): Promise<Limits | null>
  /** 403 `plan_limit` when so many more bytes do not fit the user's plan. */
  ensureStorage(userId: string, moreBytes: number): Promise<void>
  /** Called when a run that used its hands has ended, so that the kept copy of MEMORY.md is refreshed. */
  handsUsed(userId: string, agentId: string): Promise<void>
  /** The platform takes no new runs. */
  paused(): boolean
  log(entry: RunLogEntry): void
}
