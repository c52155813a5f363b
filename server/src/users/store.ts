import { sql } from "kysely"
import type { Database, Step } from "../db/database.ts"
import { noSuchUser } from "../db/for-user.ts"
import { preparedInsert, preparedOne } from "../db/prepared.ts"
import type { Schema } from "../db/schema.ts"

export interface ListFilter {
  after: string | null
  limit: number
  q: string | null
}

const NAMED = ["id", "name", "tier", "state", "limits"] as const
export type NamedRow = Readonly<Pick<Schema["users"], (typeof NAMED)[number]>>

const ALL = [
  ...NAMED,
  "email",
  "display_name",
  "state_reason",
  "created_at",
] as const satisfies (keyof Schema["users"])[]

const NOBODY: Schema["users"] = {
  id: "",
  name: null,
  email: null,
  display_name: null,
  tier: "",
  state: "active",
  state_reason: null,
  limits: "{}",
  created_at: 0,
}

export function userStore(db: Database) {
  const byName = preparedOne<NamedRow, [string]>(db, db.read.selectFrom("users").select(NAMED).where("name", "=", ""))
  const byId = preparedOne<Schema["users"], [string]>(
    db,
    db.read.selectFrom("users").select(ALL).where("id", "=", "").where("state", "<>", sql.lit("deleting")),
  )
  const insert = preparedInsert(db, "users", NOBODY, (query) => query.onConflict((c) => c.column("name").doNothing()))
  const planOf = preparedOne<Pick<Schema["users"], "tier" | "limits">, [string]>(
    db,
    db.read
      .selectFrom("users")
      .select(["tier", "limits"])
      .where("id", "=", "")
      .where("state", "<>", sql.lit("deleting")),
  )
  const standing = (userId: string) =>
    db.kysely.updateTable("users").where("id", "=", userId).where("state", "<>", "deleting")
  const change = (userId: string, values: Partial<Schema["users"]>): Step => ({
    query: standing(userId).set(values),
    rows: 1,
    otherwise: noSuchUser,
  })

  return {
    byName,
    byId,

    /** Null when nothing is left of the user. */
    async stateOf(userId: string) {
      const row = await db.read.selectFrom("users").select("state").where("id", "=", userId).executeTakeFirst()
      return row?.state ?? null
    },

    planOf,

    insert: (row: Schema["users"], taken: () => Error): Step => ({ query: insert(row), rows: 1, otherwise: taken }),

    async list({ after, limit, q }: ListFilter) {
      let query = db.read
        .selectFrom("users")
        .select(["id", "name", "email", "display_name", "tier", "state", "created_at"])
        .select((e) =>
          e
            .selectFrom("agents")
            .select((a) => a.fn.countAll<number>().as("n"))
            .whereRef("agents.user_id", "=", "users.id")
            .as("agent_count"),
        )
        .where("name", "is not", null)
        .orderBy("name")
        .limit(limit)
      if (after !== null) query = query.where("name", ">", after)
      if (q !== null) {
        const pattern = `%${q.toLowerCase().replace(/[\\%_]/g, "\\$&")}%`
        query = query.where((e) =>
          e.or(
            (["name", "email", "display_name"] as const).map(
              (column) => sql<boolean>`lower(${sql.ref(column)}) like ${pattern} escape '\\'`,
            ),
          ),
        )
      }
      return query.execute()
    },

    async tiersInUse(): Promise<string[]> {
      const rows = await db.read
        .selectFrom("users")
        .select("tier")
        .distinct()
        .where("state", "<>", "deleting")
        .execute()
      return rows.map((row) => row.tier)
    },

    /** To be run behind `lockUser`. */
    setTier(userId: string, tier: string, maxAgents: number | null, tooMany: () => Error): Step {
      let query = standing(userId).set({ tier })
      if (maxAgents !== null) {
        const count = db.kysely
          .selectFrom("agents")
          .select((e) => e.fn.countAll<number>().as("n"))
          .where("user_id", "=", userId)
        query = query.where(count, "<=", maxAgents)
      }
      return { query, rows: 1, otherwise: tooMany }
    },

    change,

    /** The name is free from here on, and what a run still wants to write is refused. */
    startDeletion: (userId: string): Step[] => [
      change(userId, { state: "deleting", name: null, email: null, display_name: null, state_reason: null }),
      {
        query: db.kysely
          .updateTable("runs")
          .set((e) => ({ epoch: e("epoch", "+", 1) }))
          .where("user_id", "=", userId)
          .where("finished_at", "is", null),
      },
      // Without the data key the sealed secrets cannot be read by anyone, wherever a copy may lie.
      { query: db.kysely.deleteFrom("data_keys").where("user_id", "=", userId) },
    ],
  }
}
