import type { Database } from "../db/database.ts"
import type { TranscriptMessage } from "../runtime/transcript.ts"
import type { Attachments } from "./attachments.ts"

/** A message of the history with its place in the session. */
export interface HistoryEntry {
  seq: number
  message: TranscriptMessage
}

/**
 * The runtime summarizes a conversation long before it has so many messages. Where it could not, the oldest are left
 * out, in large steps so that the provider's cached prefix lives through many messages.
 */
const MAX_MESSAGES = 600
const STEP = 200
const MAX_BYTES = 4 * 1024 * 1024
const MAX_IMAGE_BYTES = 12 * 1024 * 1024

/**
 * What the model is given of a session: the last summary, then what came after it, bounded, so that a message in a
 * long session costs what it costs in a short one.
 */
export async function loadHistory(
  db: Database,
  attachments: Attachments,
  session: { id: string; user_id: string; last_seq: number },
): Promise<HistoryEntry[]> {
  const last = await db.read
    .selectFrom("messages")
    .select(["seq", "content"])
    .where("session_id", "=", session.id)
    .where("role", "=", "summary")
    .orderBy("seq", "desc")
    .limit(1)
    .executeTakeFirst()
  const summary = last === undefined ? null : parsed(last.content)
  const covered = summary?.role === "summary" ? summary.covers_to_seq : 0
  const from = await tailStart(db, session, covered)
  const rows = await db.read
    .selectFrom("messages")
    .select(["seq", "content"])
    .where("session_id", "=", session.id)
    .where("seq", ">=", from)
    .where("seq", "<=", session.last_seq)
    .where("role", "<>", "summary")
    .orderBy("seq")
    .execute()
  const loaded = rows.map((row) => ({ seq: row.seq, message: parsed(row.content) }))
  const cut = from > covered + 1
  const tail = cut ? beginWithUser(loaded) : loaded
  if (cut && tail[0]?.message.role !== "user") tail.unshift(...(await userBefore(db, session.id, from)))
  const entries = closeCalls(tail)
  if (last !== undefined && summary !== null) entries.unshift({ seq: covered, message: summary })
  const messages = await attachments.fill(
    session.user_id,
    entries.map(({ message }) => message),
    MAX_IMAGE_BYTES,
  )
  return entries.map(({ seq, message }, i) => ({ seq, message: messages[i] ?? message }))
}

/** The place of the first message that is loaded. */
async function tailStart(db: Database, session: { id: string; last_seq: number }, covered: number): Promise<number> {
  const length = session.last_seq - covered
  const dropped = length > MAX_MESSAGES ? Math.floor((length - STEP) / STEP) * STEP : 0
  const first = covered + dropped + 1
  const sizes = await db.read
    .selectFrom("messages")
    .select(["seq", "size_bytes"])
    .where("session_id", "=", session.id)
    .where("seq", ">=", first)
    .where("seq", "<=", session.last_seq)
    .orderBy("seq", "desc")
    .execute()
  let bytes = 0
  for (const { seq, size_bytes } of sizes) {
    bytes += size_bytes
    if (bytes > MAX_BYTES && seq < session.last_seq) return seq + 1
  }
  return first
}

/** A conversation begins with what the user said; answers and results whose question is not there say nothing. */
function beginWithUser(entries: HistoryEntry[]): HistoryEntry[] {
  const first = entries.findIndex(({ message }) => message.role === "user")
  if (first > 0 && first < entries.length / 2) return entries.slice(first)
  const call = entries.findIndex(({ message }) => message.role !== "tool")
  return call > 0 ? entries.slice(call) : entries
}

/** The user's message that what is loaded goes back to. */
async function userBefore(db: Database, sessionId: string, seq: number): Promise<HistoryEntry[]> {
  const row = await db.read
    .selectFrom("messages")
    .select(["seq", "content"])
    .where("session_id", "=", sessionId)
    .where("role", "=", "user")
    .where("seq", "<", seq)
    .orderBy("seq", "desc")
    .limit(1)
    .executeTakeFirst()
  return row === undefined ? [] : [{ seq: row.seq, message: parsed(row.content) }]
}

/** A call without a result (the server died, the run was cancelled) is told as what it is; it is never repeated. */
export function closeCalls(entries: readonly HistoryEntry[]): HistoryEntry[] {
  const answered = new Set<string>()
  for (const { message } of entries) if (message.role === "tool") answered.add(message.tool_call_id)
  const closed: HistoryEntry[] = []
  let open: HistoryEntry[] = []
  for (const entry of entries) {
    if (entry.message.role !== "tool") {
      closed.push(...open)
      open = []
    }
    closed.push(entry)
    if (entry.message.role !== "assistant" || isCutOff(entry.message.stop_reason)) continue
    for (const part of entry.message.content) {
      if (part.type === "tool_call" && !answered.has(part.id)) open.push(interrupted(entry.seq, part))
    }
  }
  return [...closed, ...open]
}

/** Calls of a message that was cut off were never carried out, and are not shown to the model. */
const isCutOff = (stopReason: string) => stopReason === "error" || stopReason === "cancelled"

function interrupted(seq: number, call: { id: string; name: string }): HistoryEntry {
  const text = "Interrupted before it ended; its effect is not known."
  const content = [{ type: "text" as const, text }]
  return {
    seq,
    message: { v: 1, role: "tool", tool_call_id: call.id, name: call.name, content, is_error: true, duration_ms: 0 },
  }
}

/** Stored by this program and checked when it was; a full parse of a long history would cost more than its query. */
export function parsed(content: string): TranscriptMessage {
  return JSON.parse(content) as TranscriptMessage
}
