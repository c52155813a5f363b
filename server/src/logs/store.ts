import { type Insertable, type Selectable, sql } from "kysely"
import type { Compilable, Database } from "../db/database.ts"
import type { Schema } from "../db/schema.ts"
import { iso } from "../lib/clock.ts"
import type { StoredLine } from "./logs.ts"

export type LogRow = Insertable<Schema["logs"]>

/** Whose lines: a user's, or with null the platform's own. */
export interface LogFilter {
  userId: string | null
  agentName?: string | undefined
  /** Milliseconds; lines from this time on. */
  since?: number | undefined
}

/** What a line takes beside its message. */
export const ROW_BYTES = 128

/** More than the overlap with which a follower reads, so that it always gets on. */
const MAX_READ = 5000

/** Stores the lines of those users who are still there: nothing may be written for one who is being deleted. */
export async function insertLines(db: Database, rows: readonly LogRow[]): Promise<void> {
  const users = [...new Set(rows.flatMap((row) => row.user_id ?? []))]
  await db.kysely.transaction().execute(async (trx) => {
    const query = trx.selectFrom("users").select("id").where("id", "in", users).where("state", "<>", "deleting")
    const alive = users.length === 0 ? [] : await (db.dialect === "postgres" ? query.forShare() : query).execute()
    const ids = new Set(alive.map((row) => row.id))
    const kept = rows.filter((row) => row.user_id == null || ids.has(row.user_id))
    if (kept.length > 0)
      await trx
        .insertInto("logs")
        .values([...kept])
        .execute()
  })
}

export async function readTail(db: Database, filter: LogFilter, tail: number): Promise<StoredLine[]> {
  if (tail === 0) return []
  const rows = await matching(db, filter).orderBy("id", "desc").limit(tail).execute()
  return rows.reverse().map(lineOf)
}

export async function readAfter(db: Database, filter: LogFilter, afterId: number): Promise<StoredLine[]> {
  const rows = await matching(db, filter).where("id", ">", afterId).orderBy("id").limit(MAX_READ).execute()
  return rows.map(lineOf)
}

export async function newestId(db: Database): Promise<number> {
  const row = await db.read.selectFrom("logs").select(sql<number | null>`max(id)`.as("id")).executeTakeFirst()
  return row?.id ?? 0
}

const DELETE_AT_ONCE = 1000

/** Deletes what is older than `before` (milliseconds), little by little, so that nobody waits for it. */
export async function deleteBefore(db: Database, before: number): Promise<void> {
  const old = db.kysely.selectFrom("logs").select("id").where("created_at", "<", before).limit(DELETE_AT_ONCE)
  await deleteAll(db, () => db.kysely.deleteFrom("logs").where("id", "in", old).returning("id"))
}

/** Deletes the oldest lines of an account until its newest, of `maxBytes` in all, are left. */
export async function deleteBeyond(db: Database, userId: string | null, maxBytes: number): Promise<void> {
  const of = userId === null ? sql`user_id is null` : sql`user_id = ${userId}`
  const { rows } = await sql<{ id: number }>`
    select id from (
      select id, sum(length(message) + ${ROW_BYTES}) over (order by id desc) as bytes from logs where ${of}
    ) as sums where bytes > ${maxBytes} order by id desc limit 1`.execute(db.read)
  const last = rows[0]?.id
  if (last === undefined) return
  const old = db.kysely
    .selectFrom("logs")
    .select("id")
    .where("id", "<=", last)
    .where(userId === null ? sql<boolean>`user_id is null` : sql<boolean>`user_id = ${userId}`)
    .limit(DELETE_AT_ONCE)
  await deleteAll(db, () => db.kysely.deleteFrom("logs").where("id", "in", old).returning("id"))
}

async function deleteAll(db: Database, some: () => Compilable<{ id: number }>): Promise<void> {
  for (;;) {
    const [gone] = await db.batch([{ query: some() }])
    if (gone.length < DELETE_AT_ONCE) return
  }
}

function matching(db: Database, { userId, agentName, since }: LogFilter) {
  let query = db.read.selectFrom("logs").selectAll()
  query = userId === null ? query.where("user_id", "is", null) : query.where("user_id", "=", userId)
  if (agentName !== undefined) query = query.where("agent_name", "=", agentName)
  if (since !== undefined) query = query.where("created_at", ">=", since)
  return query
}

function lineOf(row: Selectable<Schema["logs"]>): StoredLine {
  const { id, created_at, level, agent_name, run_id, source, message } = row
  return { id, entry: { time: iso(created_at), level, agent: agent_name, run_id, source, message } }
}
