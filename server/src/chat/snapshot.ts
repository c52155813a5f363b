import { createHash } from "node:crypto"
import type { PromptParts } from "../runtime/protocol.ts"
import type { ChatPorts, RunAgent } from "./ports.ts"
import type { SessionRow } from "./rows.ts"

/** After so long without a call the provider's cache is cold, so that a fresh prompt costs nothing more. */
const COLD_MS = 60 * 60_000

/** The prompt's parts as a session froze them, and what tells whether they still hold. */
export interface Snapshot {
  parts: PromptParts
  key: string
  /** The agent's memory has changed since it was frozen. */
  memoryChanged: boolean
}

/** What a conversation's prompt is made of, as it stands now. */
export async function freshParts(
  ports: ChatPorts,
  userId: string,
  agentId: string,
  agent: RunAgent,
  instruction: string | null,
): Promise<PromptParts> {
  const [templates, skills] = await Promise.all([ports.templates(userId, agentId), ports.skills(userId, agentId)])
  return {
    agentName: agent.name,
    agentDescription: agent.description,
    soul: templates.soul,
    user: templates.user,
    tools: templates.tools,
    memory: agent.memory,
    skills,
    instruction,
  }
}

/**
 * The session's frozen parts while they hold; else the fresh ones. Memory alone does not end a snapshot: the agent
 * writes it all the time, and is told that it changed instead.
 */
export function snapshotFor(
  session: Pick<SessionRow, "snapshot" | "snapshot_key" | "snapshot_at"> | null,
  fresh: PromptParts,
  config: unknown,
  now: number,
): Snapshot {
  const frozen = session?.snapshot ? (JSON.parse(session.snapshot) as PromptParts) : null
  // A client's instruction holds for the whole session until it sends another.
  const instruction = fresh.instruction ?? frozen?.instruction ?? null
  const parts = { ...fresh, instruction }
  const key = keyOf(parts, config)
  const holds = frozen !== null && session?.snapshot_key === key && now - session.snapshot_at < COLD_MS
  return holds
    ? { parts: frozen, key, memoryChanged: frozen.memory !== fresh.memory }
    : { parts, key, memoryChanged: false }
}

function keyOf({ memory: _memory, ...steady }: PromptParts, config: unknown): string {
  return createHash("sha256")
    .update(JSON.stringify([steady, config]))
    .digest("hex")
}

/** The provider's cache key: the same for all calls of a session, and nothing that tells whose it is. */
export function cacheKeyOf(userId: string, sessionId: string): string {
  return createHash("sha256").update(`${userId}\0${sessionId}`).digest("hex").slice(0, 32)
}

const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

/** What stands in the newest user message only, because it changes all the time. */
export function contextFor(
  now: number,
  memoryChanged: boolean,
  called: { name: string; path: string } | null = null,
): string {
  const date = new Date(now)
  const lines = [`Now: ${DAYS[date.getUTCDay()]}, ${date.toISOString().slice(0, 16).replace("T", " ")} UTC`]
  if (memoryChanged) lines.push("MEMORY.md has changed since this conversation began; read the file if it matters.")
  if (called !== null) lines.push(`The user calls the skill ${called.name}: read ${called.path} and follow it.`)
  return lines.join("\n")
}
