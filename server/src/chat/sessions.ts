import type { Session, SessionMessage, ToolImage } from "@autonomis/contract/chat.ts"
import { auditStep } from "../audit/audit.ts"
import type { AgentRef, Origin, UserRef } from "../http/endpoint.ts"
import { iso } from "../lib/clock.ts"
import { decodeCursor, encodeCursor, page } from "../lib/cursor.ts"
import { AppError } from "../lib/errors.ts"
import type { ToolMessage, TranscriptMessage } from "../runtime/transcript.ts"
import { hashesOf } from "./attachments.ts"
import { parsed } from "./history.ts"
import type { ChatParts } from "./parts.ts"
import type { MessageRow, SessionRow } from "./rows.ts"
import { SessionChanged } from "./run-store.ts"

interface PageQuery {
  limit: number
  cursor?: string | undefined
}

type UserName = Pick<UserRef, "id" | "name">

export interface Sessions {
  /** The last used first. */
  list(userId: string, agent: AgentRef, query: PageQuery): Promise<{ sessions: Session[]; next_cursor: string | null }>
  /** Its messages, the oldest first; a call's result stands with the call. */
  read(
    userId: string,
    agent: AgentRef,
    name: string,
    query: PageQuery,
  ): Promise<{ session: string; messages: SessionMessage[]; next_cursor: string | null }>
  /** An image that this very message names. */
  image(
    userId: string,
    agent: AgentRef,
    name: string,
    messageId: string,
    hash: string,
  ): Promise<{ mimeType: string; data: Buffer }>
  /** With its messages, the runs that they came from, and the images that nothing else names. 409 while a run is under way. */
  delete(user: UserName, agent: AgentRef, name: string, origin: Origin): Promise<void>
  /** A message and all after it. 409 while a run is under way. */
  cut(user: UserName, agent: AgentRef, name: string, messageId: string, origin: Origin): Promise<void>
}

const ROWS_AT_ONCE = 200
/** A page ends early when it would hold more than this. */
const PAGE_BYTES = 4 * 1024 * 1024
const RESULT_BYTES = 2048

export function createSessions({ db, sessions, runs, attachments, clock }: ChatParts): Sessions {
  async function find(userId: string, agent: AgentRef, name: string): Promise<SessionRow> {
    const row = await sessions.byName(agent.id, name)
    if (row === undefined || row.user_id !== userId) throw noSuchSession()
    return row
  }
  const busy = () => new AppError("conflict", "a run is under way in this session: cancel it or wait for its end")

  function audit(origin: Origin, user: UserName, agent: AgentRef, action: string, what: string) {
    const target = `session:${user.name}/${agent.name}/${what}`
    return auditStep(db, origin, { userId: user.id, action, target }, clock.now())
  }

  /** Hashes of images in messages from a place on. */
  async function imagesFrom(sessionId: string, seq: number): Promise<string[]> {
    const rows = await db.read
      .selectFrom("messages")
      .select("content")
      .where("session_id", "=", sessionId)
      .where("seq", ">=", seq)
      .where("content", "like", '%"hash":"%')
      .execute()
    return [...new Set(rows.flatMap(({ content }) => hashesOf(parsed(content))))]
  }

  return {
    async list(userId, agent, { limit, cursor }) {
      const after = decodeCursor(cursor, ["number", "string"])
      const { rows, nextCursor } = page(await sessions.list(userId, agent.id, after, limit + 1), limit, (row) => [
        row.updated_at,
        row.id,
      ])
      return { sessions: rows.map(view), next_cursor: nextCursor }
    },

    async read(userId, agent, name, { limit, cursor }) {
      const session = await find(userId, agent, name)
      let seq = decodeCursor(cursor, ["number"])?.[0] ?? 0
      const messages: SessionMessage[] = []
      let calls = new Map<string, SessionMessage["tool_calls"][number]>()
      let bytes = 0
      for (;;) {
        const rows = await sessions.messagesAfter(session.id, seq, ROWS_AT_ONCE)
        for (const row of rows) {
          const message = parsed(row.content)
          if (message.role !== "tool") {
            if (messages.length === limit || (bytes > PAGE_BYTES && messages.length > 0))
              return { session: name, messages, next_cursor: encodeCursor([seq]) }
            const shown = messageView(row)
            calls = new Map(shown.tool_calls.map((call) => [call.id, call]))
            messages.push(shown)
          } else {
            const call = calls.get(message.tool_call_id)
            if (call !== undefined) Object.assign(call, resultOf(message), imagesOf(row.id, message))
          }
          seq = row.seq
          bytes += row.size_bytes
        }
        if (rows.length < ROWS_AT_ONCE) return { session: name, messages, next_cursor: null }
      }
    },

    async image(userId, agent, name, messageId, hash) {
      const session = await find(userId, agent, name)
      const row = await db.read
        .selectFrom("messages")
        .select("content")
        .where("id", "=", messageId)
        .where("session_id", "=", session.id)
        .executeTakeFirst()
      if (row === undefined) throw new AppError("not_found", "message not found")
      const message = parsed(row.content)
      const parts = message.role === "user" || message.role === "tool" ? message.content : []
      const named = parts.find((part) => part.type === "image" && part.hash === hash)
      const data = named?.type === "image" ? await attachments.read(userId, hash) : null
      if (named?.type !== "image" || data === null) throw new AppError("not_found", "image not found")
      return { mimeType: named.mime_type, data }
    },

    async delete(user, agent, name, origin) {
      const userId = user.id
      const session = await find(userId, agent, name)
      const images = await imagesFrom(session.id, 0)
      const ofSession = db.kysely.selectFrom("runs").select("id").where("session_id", "=", session.id)
      await changed(() =>
        db.batch([
          sessions.lock(session.id),
          runs.sessionIsFree(userId, session.id, busy),
          { query: db.kysely.deleteFrom("run_events").where("run_id", "in", ofSession) },
          { query: db.kysely.deleteFrom("runs").where("session_id", "=", session.id) },
          { query: db.kysely.deleteFrom("messages").where("session_id", "=", session.id) },
          { query: db.kysely.deleteFrom("sessions").where("id", "=", session.id) },
          audit(origin, user, agent, "sessions.delete", name),
        ]),
      )
      await attachments.sweep(userId, images)
    },

    async cut(user, agent, name, messageId, origin) {
      const userId = user.id
      const session = await find(userId, agent, name)
      const row = await db.read
        .selectFrom("messages")
        .select(["seq", "role"])
        .where("id", "=", messageId)
        .where("session_id", "=", session.id)
        .executeTakeFirst()
      if (row === undefined || row.role === "tool") throw new AppError("not_found", "message not found")
      const images = await imagesFrom(session.id, row.seq)
      const shownBefore = db.kysely
        .selectFrom("messages")
        .select(({ fn }) => fn.countAll<number>().as("count"))
        .where("session_id", "=", session.id)
        .where("seq", "<", row.seq)
        .where("role", "in", ["user", "assistant"])
      await changed(() =>
        db.batch([
          sessions.lock(session.id),
          runs.sessionIsFree(userId, session.id, busy),
          {
            query: db.kysely.deleteFrom("messages").where("session_id", "=", session.id).where("seq", ">=", row.seq),
          },
          {
            query: db.kysely
              .updateTable("sessions")
              .set({
                last_seq: row.seq - 1,
                message_count: shownBefore,
                updated_at: clock.now(),
                last_input_tokens: null,
              })
              .where("id", "=", session.id),
          },
          audit(origin, user, agent, "sessions.cut", `${name}/${messageId}`),
        ]),
      )
      await attachments.sweep(userId, images)
    },
  }
}

const noSuchSession = (): AppError => new AppError("not_found", "session not found")

/** Deleted by someone else in between: it is not there. */
async function changed(work: () => Promise<unknown>): Promise<void> {
  try {
    await work()
  } catch (error) {
    throw error instanceof SessionChanged ? noSuchSession() : error
  }
}

function view(row: SessionRow): Session {
  return {
    session: row.name,
    title: row.title,
    message_count: row.message_count,
    created_at: iso(row.created_at),
    updated_at: iso(row.updated_at),
  }
}

function messageView(row: MessageRow): SessionMessage {
  const message = parsed(row.content)
  const shown: SessionMessage = {
    id: row.id,
    role: "user",
    content: "",
    tool_calls: [],
    model: null,
    usage: null,
    run_id: row.run_id,
    created_at: iso(row.created_at),
  }
  if (message.role === "user") {
    const { content } = message
    const [only] = content
    if (content.length === 1 && only?.type === "text") return { ...shown, content: only.text }
    return {
      ...shown,
      content: content.map((part) =>
        part.type === "text" ? part : { type: "image", mime_type: part.mime_type, hash: part.hash ?? "" },
      ),
    }
  }
  if (message.role === "summary") return { ...shown, role: "summary", content: message.text }
  if (message.role !== "assistant") return shown
  const thinks = message.content.some((part) => part.type === "thinking" && part.text !== "")
  const parts = message.content.flatMap((part) =>
    part.type === "tool_call" || part.text === "" ? [] : [{ type: part.type, text: part.text }],
  )
  return {
    ...shown,
    role: "assistant",
    content: thinks ? parts : parts.map(({ text }) => text).join(""),
    model: message.model,
    usage: message.usage,
    tool_calls: message.content.flatMap((part) => {
      if (part.type !== "tool_call") return []
      const { id, name, arguments: given } = part
      // Until its result is found: a call that never ended.
      return [{ id, name, arguments: given, is_error: true, duration_ms: 0, result: "interrupted" }]
    }),
  }
}

/** Where the images of a tool's result are found; nothing where there are none. */
export function imagesOf(messageId: string, message: TranscriptMessage): { images?: ToolImage[] } {
  if (message.role !== "tool") return {}
  const images = message.content.flatMap((part) =>
    part.type === "image" && part.hash !== undefined
      ? [{ message_id: messageId, mime_type: part.mime_type, hash: part.hash }]
      : [],
  )
  return images.length === 0 ? {} : { images }
}

function resultOf(message: ToolMessage) {
  const text = message.content.map((part) => (part.type === "text" ? part.text : `[${part.mime_type}]`)).join("\n")
  const result = Buffer.from(text)
    .subarray(0, RESULT_BYTES)
    .toString()
    .replace(/\uFFFD$/, "")
  return { is_error: message.is_error, duration_ms: message.duration_ms, result }
}
