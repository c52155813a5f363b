import { sql } from "kysely"
import type { Database, Step } from "../db/database.ts"
import { forUser } from "../db/for-user.ts"
import { prepared } from "../db/prepared.ts"
import type { Schema } from "../db/schema.ts"

export type AgentStore = ReturnType<typeof agentStore>
export type AgentRow = Awaited<ReturnType<AgentStore["list"]>>[number]

/** The counter of host uids, and the number below the first one: from a range that no system gives away by itself. */
const HOST_UID = "host_uid"
const BELOW_FIRST_HOST_UID = 1_900_000_000

/** An agent as it is stored before its host uid is drawn. */
export type NewAgentRow = Omit<Schema["agents"], "user_id" | "host_uid" | "is_default">

export function agentStore(db: Database) {
  const byName = prepared<Pick<Schema["agents"], "id" | "name">, [string, string]>(
    db,
    db.read.selectFrom("agents").select(["id", "name"]).where("user_id", "=", "").where("name", "=", ""),
  )
  /** With `running`: has it a run under way. */
  const rows = (userId: string) => {
    const open = db.read
      .selectFrom("runs")
      .select("id")
      .where("user_id", "=", userId)
      .where("finished_at", "is", null)
      .where("agent_id", "=", sql.ref<string>("agents.id"))
    return forUser(db, userId)
      .select("agents")
      .selectAll("agents")
      .select((e) => e.exists(open).as("running"))
  }
  const ofUser = (userId: string) => db.kysely.selectFrom("agents").where("user_id", "=", userId)

  return {
    async byName(userId: string, name: string) {
      return (await byName(userId, name))[0] ?? null
    },

    async byId(userId: string, agentId: string) {
      return (await rows(userId).where("id", "=", agentId).executeTakeFirst()) ?? null
    },

    list(userId: string, after: string | null, limit: number | null) {
      let query = rows(userId).orderBy("name")
      if (after !== null) query = query.where("name", ">", after)
      if (limit !== null) query = query.limit(limit)
      return query.execute()
    },

    /** To be run behind the user's lock. */
    room(userId: string, adding: number, max: number, tooMany: () => Error): Step {
      const count = ofUser(userId).select((e) => e.fn.countAll<number>().as("n"))
      return {
        query: db.kysely
          .selectFrom("users")
          .select("id")
          .where("id", "=", userId)
          .where(count, "<=", max - adding),
        rows: 1,
        otherwise: tooMany,
      }
    },

    drawHostUids(count: number): Step {
      return {
        query: db.kysely
          .insertInto("counters")
          .values({ name: HOST_UID, value: BELOW_FIRST_HOST_UID + count })
          .onConflict((c) => c.column("name").doUpdateSet((e) => ({ value: e("counters.value", "+", count) }))),
        rows: 1,
      }
    },

    clearDefault(userId: string): Step {
      return { query: forUser(db, userId).update("agents").set({ is_default: 0 }).where("is_default", "=", 1) }
    },

    /**
     * `fromLast`: how many of the drawn host uids come after this agent's. Becomes the default when told, or when the
     * user has none.
     */
    insert(userId: string, row: NewAgentRow, fromLast: number, isDefault: boolean, taken: () => Error): Step {
      const hasDefault = ofUser(userId).select("id").where("is_default", "=", 1)
      const drawn = db.kysely.selectFrom("counters").select((e) => e("value", "-", fromLast).as("uid"))
      return {
        query: db.kysely
          .insertInto("agents")
          .values({
            ...row,
            user_id: userId,
            host_uid: sql<number>`${drawn.where("name", "=", HOST_UID)}`,
            is_default: isDefault ? 1 : sql<number>`case when exists ${hasDefault} then 0 else 1 end`,
          })
          .onConflict((c) => c.columns(["user_id", "name"]).doNothing()),
        rows: 1,
        otherwise: taken,
      }
    },
  }
}
