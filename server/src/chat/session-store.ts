import { sql } from "kysely"
import type { Database, Step } from "../db/database.ts"
import { ids } from "../lib/ids.ts"
import type { TranscriptMessage } from "../runtime/transcript.ts"
import type { MessageRow, SessionRow } from "./rows.ts"
import { SessionChanged } from "./run-store.ts"

/** A message to be stored at the session's end. */
export interface NewMessage {
  id: string
  message: TranscriptMessage
  runId: string | null
}

/** Only these are shown and counted: results belong to their calls, and a summary stands for what is there anyway. */
const isShown = (role: string) => role === "user" || role === "assistant"

export function sessionStore(db: Database) {
  return {
    byName: (agentId: string, name: string): Promise<SessionRow | undefined> =>
      db.kysely
        .selectFrom("sessions")
        .selectAll()
        .where("agent_id", "=", agentId)
        .where("name", "=", name)
        .executeTakeFirst(),

    /** Makes the session unless another did; then a later step of the batch finds it missing and the caller looks again. */
    create: (row: { id: string; userId: string; agentId: string; name: string; title: string; now: number }): Step => ({
      query: db.kysely
        .insertInto("sessions")
        .values({
          id: row.id,
          user_id: row.userId,
          agent_id: row.agentId,
          name: row.name,
          title: row.title,
          message_count: 0,
          last_seq: 0,
          snapshot: null,
          snapshot_key: null,
          snapshot_at: row.now,
          last_input_tokens: null,
          created_at: row.now,
          updated_at: row.now,
        })
        .onConflict((conflict) => conflict.columns(["agent_id", "name"]).doNothing()),
    }),

    /** On PostgreSQL whoever changes a session or its queue takes turns here. */
    lock: (sessionId: string): Step => ({
      query: db.kysely.updateTable("sessions").set({ name: sql<string>`name` }).where("id", "=", sessionId),
      rows: 1,
      otherwise: () => new SessionChanged(),
    }),

    /** The steps that append messages after the session's last one; `seq` counts on from there. */
    append(session: { id: string; userId: string }, messages: readonly NewMessage[], now: number): Step[] {
      const shown = messages.filter(({ message }) => isShown(message.role)).length
      const inserts = messages.map(({ id, message, runId }, i): Step => {
        const content = JSON.stringify(message)
        return {
          query: db.kysely.insertInto("messages").values({
            id,
            user_id: session.userId,
            session_id: session.id,
            seq: sql<number>`(select last_seq from sessions where id = ${session.id}) + cast(${i + 1} as integer)`,
            role: message.role,
            content,
            run_id: runId,
            size_bytes: Buffer.byteLength(content),
            created_at: now,
          }),
        }
      })
      const count: Step = {
        query: db.kysely
          .updateTable("sessions")
          .set({
            last_seq: sql<number>`last_seq + ${messages.length}`,
            message_count: sql<number>`message_count + ${shown}`,
            updated_at: now,
            // The next message takes a fresh snapshot: with a summary the cached prefix is gone anyway.
            ...(messages.some(({ message }) => message.role === "summary") ? { snapshot_key: null } : {}),
          })
          .where("id", "=", session.id),
        rows: 1,
        otherwise: () => new SessionChanged(),
      }
      return messages.length === 0 ? [] : [...inserts, count]
    },

    freeze: (sessionId: string, snapshot: { parts: unknown; key: string }, now: number): Step => ({
      query: db.kysely
        .updateTable("sessions")
        .set({ snapshot: JSON.stringify(snapshot.parts), snapshot_key: snapshot.key, snapshot_at: now })
        .where("id", "=", sessionId),
    }),

    /** The snapshot holds: only the hour since the last call begins anew. */
    touch: (sessionId: string, now: number): Step => ({
      query: db.kysely.updateTable("sessions").set({ snapshot_at: now }).where("id", "=", sessionId),
    }),

    counted: (sessionId: string, inputTokens: number): Step => ({
      query: db.kysely.updateTable("sessions").set({ last_input_tokens: inputTokens }).where("id", "=", sessionId),
    }),

    list: (
      userId: string,
      agentId: string,
      after: readonly [number, string] | null,
      limit: number,
    ): Promise<SessionRow[]> => {
      let query = db.read
        .selectFrom("sessions")
        .selectAll()
        .where("user_id", "=", userId)
        .where("agent_id", "=", agentId)
        .orderBy("updated_at", "desc")
        .orderBy("id", "desc")
        .limit(limit)
      if (after !== null) query = query.where(sql<boolean>`(updated_at, id) < (${after[0]}, ${after[1]})`)
      return query.execute()
    },

    messagesAfter: (sessionId: string, seq: number, limit: number): Promise<MessageRow[]> =>
      db.read
        .selectFrom("messages")
        .selectAll()
        .where("session_id", "=", sessionId)
        .where("seq", ">", seq)
        .orderBy("seq")
        .limit(limit)
        .execute(),
  }
}

export type SessionStore = ReturnType<typeof sessionStore>

export const newMessage = (message: TranscriptMessage, runId: string | null): NewMessage => ({
  id: ids.message(),
  message,
  runId,
})
