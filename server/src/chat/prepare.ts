import type { AgentConfig } from "@autonomis/contract/agents.ts"
import { AppError } from "../lib/errors.ts"
import type { RunSpec } from "../runtime/protocol.ts"
import { type ConversationMessage, firstText } from "./content.ts"
import { loadHistory } from "./history.ts"
import type { RunIdentity } from "./live-run.ts"
import type { ChatParts } from "./parts.ts"
import type { ResolvedModel } from "./ports.ts"
import type { SessionRow } from "./rows.ts"
import { cacheKeyOf, contextFor, freshParts, type Snapshot, snapshotFor } from "./snapshot.ts"

/** What a run is asked to do, beside its conversation. */
export interface RunWish {
  model: string | null
  instruction: string | null
  /** Less than the agent's config says; null: as it says. */
  maxOutputTokens: number | null
  stop: string[]
}

/** What a run begins with, as agent, model and templates stand when its turn comes. */
export interface Prepared {
  config: AgentConfig
  resolved: ResolvedModel
  snapshot: Snapshot
}

export async function prepare(
  { ports, clock }: ChatParts,
  run: { userId: string; agentId: string },
  wish: RunWish,
  session: SessionRow | null,
): Promise<Prepared> {
  const agent = await ports.agent(run.userId, run.agentId)
  if (agent === null) throw new AppError("not_found", "agent not found")
  const [resolved, fresh] = await Promise.all([
    ports.model(run.userId, run.agentId, wish.model ?? agent.config.model),
    freshParts(ports, run.userId, run.agentId, agent, wish.instruction),
  ])
  return { config: agent.config, resolved, snapshot: snapshotFor(session, fresh, agent.config, clock.now()) }
}

/** The order that the runtime gets. `session` as it is once the new messages are in it. */
export async function specOf(
  { db, clock, attachments, ports }: ChatParts,
  run: RunIdentity,
  wish: RunWish,
  { config, resolved, snapshot }: Prepared,
  conversation: readonly ConversationMessage[],
  session: Pick<SessionRow, "id" | "user_id" | "last_seq" | "last_input_tokens"> | null,
): Promise<RunSpec> {
  const history =
    session === null || session.last_seq === conversation.length
      ? conversation.map((message, i) => ({ seq: i + 1, message }))
      : await loadHistory(db, attachments, session)
  const called = await ports.calledSkill(run.userId, run.agentId, firstText(conversation.at(-1)))
  return {
    runId: run.id,
    userId: run.userId,
    agentId: run.agentId,
    cacheKey: cacheKeyOf(run.userId, session?.id ?? run.agentId),
    model: resolved.model,
    credentials: resolved.credentials,
    prompt: snapshot.parts,
    context: contextFor(clock.now(), snapshot.memoryChanged, called),
    history,
    tools: toolsOf(config),
    thinking: config.thinking,
    maxTurns: config.max_turns,
    maxOutputTokens: Math.min(config.max_output_tokens, wish.maxOutputTokens ?? config.max_output_tokens),
    stop: wish.stop,
    lastInputTokens: session?.last_input_tokens ?? null,
  }
}

function toolsOf({ tools }: AgentConfig): string[] {
  return Object.entries(tools)
    .filter(([, on]) => on)
    .map(([name]) => name)
    .sort()
}
