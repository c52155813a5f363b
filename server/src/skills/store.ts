import { setImmediate as nextTurn } from "node:timers/promises"
import type { Database, Step } from "../db/database.ts"
import { forUser } from "../db/for-user.ts"
import { prepared } from "../db/prepared.ts"
import type { Schema } from "../db/schema.ts"
import { AppError } from "../lib/errors.ts"
import { type FileDigest, StoredFiles, StoredSkill } from "./stored.ts"

export interface SkillRow {
  id: string
  slug: string
  info: StoredSkill
  sizeBytes: number
  updatedAt: number
}

export interface SkillWithFiles extends SkillRow {
  files: FileDigest[]
}

/** Which skills a user has, without what is in them. */
export type SkillKey = Pick<Schema["skills"], "id" | "updated_at">

export type SkillStore = ReturnType<typeof skillStore>

const ROWS_A_TURN = 10
const COLUMNS = ["id", "slug", "info", "size_bytes", "updated_at"] as const

export function skillStore(db: Database) {
  const keys = prepared<SkillKey, [string]>(
    db,
    db.read.selectFrom("skills").select(["id", "updated_at"]).where("user_id", "=", "").orderBy("slug"),
  )
  const rowOf = (row: Pick<Schema["skills"], (typeof COLUMNS)[number]>): SkillRow => ({
    id: row.id,
    slug: row.slug,
    info: StoredSkill.parse(JSON.parse(row.info)),
    sizeBytes: row.size_bytes,
    updatedAt: row.updated_at,
  })
  const changed = () => new AppError("conflict", "this skill was changed at the same time; try again")

  return {
    keys,

    async all(userId: string): Promise<SkillRow[]> {
      return (await forUser(db, userId).select("skills").select(COLUMNS).orderBy("slug").execute()).map(rowOf)
    },

    /** With the lists of files. Those of hostile bundles are long: others get their turn in between. */
    async allWithFiles(userId: string): Promise<SkillWithFiles[]> {
      const rows = await forUser(db, userId)
        .select("skills")
        .select([...COLUMNS, "files"])
        .orderBy("slug")
        .execute()
      const found: SkillWithFiles[] = []
      for (const row of rows) {
        if (found.length % ROWS_A_TURN === ROWS_A_TURN - 1) await nextTurn()
        found.push({ ...rowOf(row), files: StoredFiles.parse(JSON.parse(row.files)) })
      }
      return found
    },

    async some(userId: string, ids: readonly string[]): Promise<SkillRow[]> {
      if (ids.length === 0) return []
      return (await forUser(db, userId).select("skills").select(COLUMNS).where("id", "in", ids).execute()).map(rowOf)
    },

    async bySlug(userId: string, slug: string): Promise<SkillRow | null> {
      const row = await forUser(db, userId).select("skills").select(COLUMNS).where("slug", "=", slug).executeTakeFirst()
      return row === undefined ? null : rowOf(row)
    },

    async bytes(userId: string): Promise<number> {
      const row = await forUser(db, userId)
        .select("skills")
        .select((e) => e.fn.sum<number | null>("size_bytes").as("bytes"))
        .executeTakeFirst()
      return Number(row?.bytes ?? 0)
    },

    /** Installed skills of all users who are not going, in order of their ids; some at a time. */
    async installed(after: string, limit: number): Promise<(SkillRow & { userId: string })[]> {
      const rows = await db.read
        .selectFrom("skills")
        .innerJoin("users", "users.id", "skills.user_id")
        .select(["skills.id", "skills.user_id", "skills.slug", "skills.info", "skills.size_bytes", "skills.updated_at"])
        .where("users.state", "<>", "deleting")
        .where("skills.id", ">", after)
        .where("skills.info", "not like", '%"provenance":null%')
        .orderBy("skills.id")
        .limit(limit)
        .execute()
      return rows.map((row) => ({ ...rowOf(row), userId: row.user_id }))
    },

    /** Makes the row, or replaces the one that was read before. */
    put(userId: string, row: SkillWithFiles, before: SkillRow | null): Step {
      const user = forUser(db, userId)
      const files = JSON.stringify(row.files)
      const values = { info: JSON.stringify(row.info), files, size_bytes: row.sizeBytes, updated_at: row.updatedAt }
      if (before === null) return user.insert("skills", { id: row.id, slug: row.slug, ...values })
      const query = user
        .update("skills")
        .set(values)
        .where("id", "=", before.id)
        .where("updated_at", "=", before.updatedAt)
      return { query, rows: 1, otherwise: changed }
    },

    /** Changes what is said of a skill, not the skill. */
    amend(userId: string, before: SkillRow, info: StoredSkill, updatedAt: number): Step {
      const query = forUser(db, userId)
        .update("skills")
        .set({ info: JSON.stringify(info), updated_at: updatedAt })
        .where("id", "=", before.id)
        .where("updated_at", "=", before.updatedAt)
      return { query, rows: 1, otherwise: changed }
    },

    remove(userId: string, row: SkillRow): Step {
      return { query: forUser(db, userId).delete("skills").where("id", "=", row.id), rows: 1, otherwise: changed }
    },

    /** Every session of the user's agents takes a new prompt with its next message. */
    raisePrompts(userId: string): Step {
      return {
        query: forUser(db, userId)
          .update("agents")
          .set((e) => ({ prompt_version: e("prompt_version", "+", 1) })),
      }
    },

    /** All or none; 404 when the user is gone or going. */
    async write(userId: string, steps: readonly Step[]): Promise<void> {
      await forUser(db, userId).batch(steps)
    },

    /**
     * For the one server that may do a piece of work now: not if another did it since `notBefore`. `giveBack` lets the
     * next one try.
     */
    async takeTurn(name: string, now: number, notBefore: number): Promise<{ giveBack(): Promise<void> } | null> {
      const swap = async (from: string, to: string) => {
        const query = db.kysely
          .updateTable("meta")
          .set({ value: to })
          .where("name", "=", name)
          .where("value", "=", from)
        return (await query.executeTakeFirst()).numUpdatedRows === 1n
      }
      const first = { name, value: "0" }
      await db.batch([
        {
          query: db.kysely
            .insertInto("meta")
            .values(first)
            .onConflict((c) => c.column("name").doNothing()),
        },
      ])
      const row = await db.read.selectFrom("meta").select("value").where("name", "=", name).executeTakeFirst()
      if (row === undefined || Number(row.value) > notBefore || !(await swap(row.value, String(now)))) return null
      return {
        async giveBack() {
          await swap(String(now), row.value)
        },
      }
    },
  }
}
