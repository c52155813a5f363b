import { sql } from "kysely"
import { z } from "zod"
import type { Database, Step } from "../db/database.ts"
import { forUser } from "../db/for-user.ts"
import { onlyRow, prepared, preparedOne } from "../db/prepared.ts"
import type { Schema } from "../db/schema.ts"

export type AgentStore = ReturnType<typeof agentStore>
export type AgentRow = Pick<Schema["agents"], (typeof COLUMNS)[number]> & { running: number | boolean }

/** The counter of host uids, and the number below the first one: from a range that no system gives away by itself. */
const HOST_UID = "host_uid"
const BELOW_FIRST_HOST_UID = 1_900_000_000

/** In `meta`: agents that are gone but for some rows. */
const REMOVED_PREFIX = "removed_agent:"

const RemovedValue = z.object({ userId: z.string(), hostUid: z.number() })
/** An agent that is gone from the API, and whose files and rows are to follow. */
export type Removed = { id: string } & z.infer<typeof RemovedValue>

/** All but the text of MEMORY.md, which only a prompt reads. */
const COLUMNS = [
  "id",
  "user_id",
  "name",
  "description",
  "is_default",
  "config",
  "host_uid",
  "deploy",
  "created_at",
  "last_active_at",
] as const

/** An agent as it is stored before its host uid is drawn. */
export type NewAgentRow = Omit<Schema["agents"], "user_id" | "host_uid" | "is_default">

export function agentStore(db: Database) {
  const byName = preparedOne<Pick<Schema["agents"], "id" | "name">, [string, string]>(
    db,
    db.read.selectFrom("agents").select(["id", "name"]).where("user_id", "=", "").where("name", "=", ""),
  )
  /** With `running`: has it a run under way. */
  const rows = (userId: string) => {
    const open = db.read
      .selectFrom("runs")
      .select("id")
      .where("user_id", "=", sql.ref<string>("agents.user_id"))
      .where("finished_at", "is", null)
      .where("agent_id", "=", sql.ref<string>("agents.id"))
    return forUser(db, userId)
      .select("agents")
      .select(COLUMNS)
      .select((e) => e.exists(open).as("running"))
  }
  const byId = prepared<AgentRow, [string, string]>(db, rows("").where("id", "=", ""))
  const ofUser = (userId: string) => db.kysely.selectFrom("agents").where("user_id", "=", userId)

  return {
    byName,

    byId: (userId: string, agentId: string) => onlyRow(byId(userId, agentId)),

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
     * `fromLast`: how many of the drawn host uids come after this agent's. `isDefault` null: it becomes the default when
     * the user has none.
     */
    insert(userId: string, row: NewAgentRow, fromLast: number, isDefault: boolean | null, taken: () => Error): Step {
      const hasDefault = ofUser(userId).select("id").where("is_default", "=", 1)
      const drawn = db.kysely.selectFrom("counters").select((e) => e("value", "-", fromLast).as("uid"))
      return {
        query: db.kysely
          .insertInto("agents")
          .values({
            ...row,
            user_id: userId,
            host_uid: sql<number>`${drawn.where("name", "=", HOST_UID)}`,
            is_default:
              isDefault === null ? sql<number>`case when exists ${hasDefault} then 0 else 1 end` : isDefault ? 1 : 0,
          })
          .onConflict((c) => c.columns(["user_id", "name"]).doNothing()),
        rows: 1,
        otherwise: taken,
      }
    },

    /** Steps behind the user's lock, as are the next. */
    update(userId: string, agentId: string, values: Partial<Schema["agents"]>, absent: () => Error): Step {
      return {
        query: forUser(db, userId).update("agents").set(values).where("id", "=", agentId),
        rows: 1,
        otherwise: absent,
      }
    },

    /** Unless someone else has changed the settings since they were read. */
    configure(userId: string, agentId: string, was: string, config: string, changed: () => Error): Step {
      const query = forUser(db, userId)
        .update("agents")
        .set((e) => ({ config, prompt_version: e("prompt_version", "+", 1) }))
        .where("id", "=", agentId)
        .where("config", "=", was)
      return { query, rows: 1, otherwise: changed }
    },

    raisePromptVersion(userId: string, agentId: string): Step {
      return {
        query: forUser(db, userId)
          .update("agents")
          .set((e) => ({ prompt_version: e("prompt_version", "+", 1) }))
          .where("id", "=", agentId),
      }
    },

    /**
     * Takes the agent away; the default passes to the oldest left. No run of it may write any more, and `meta` keeps in
     * mind that its rows are still to be removed.
     */
    remove({ id: agentId, userId, hostUid }: Removed, absent: () => Error): Step[] {
      const own = forUser(db, userId)
      const oldest = ofUser(userId).select("id").orderBy("created_at").orderBy("id").limit(1)
      const hasDefault = ofUser(userId).select("id").where("is_default", "=", 1)
      const todo = { name: REMOVED_PREFIX + agentId, value: JSON.stringify({ userId, hostUid }) }
      return [
        { query: own.delete("agents").where("id", "=", agentId), rows: 1, otherwise: absent },
        {
          query: own
            .update("agents")
            .set({ is_default: 1 })
            .where("id", "=", oldest)
            .where((e) => e.not(e.exists(hasDefault))),
        },
        { query: own.delete("templates").where("scope", "=", "agent").where("owner_id", "=", agentId) },
        {
          query: own
            .update("runs")
            .set((e) => ({ epoch: e("epoch", "+", 1) }))
            .where("agent_id", "=", agentId)
            .where("finished_at", "is", null),
        },
        { query: db.kysely.insertInto("meta").values(todo), rows: 1 },
      ]
    },

    /** Agents whose rows are still to be removed. */
    async removed(): Promise<Removed[]> {
      const rows = await db.read.selectFrom("meta").selectAll().where("name", "like", `${REMOVED_PREFIX}%`).execute()
      return rows.map((row) => ({
        id: row.name.slice(REMOVED_PREFIX.length),
        ...RemovedValue.parse(JSON.parse(row.value)),
      }))
    },

    /** Removes up to `limit` rows of each kind; false once nothing of the agent is left. */
    async removeSome(agentId: string, limit: number): Promise<boolean> {
      const sessions = db.kysely.selectFrom("sessions").select("id").where("agent_id", "=", agentId)
      const runs = db.kysely.selectFrom("runs").select("id").where("agent_id", "=", agentId)
      const messages = db.kysely.selectFrom("messages").select("id").where("session_id", "in", sessions).limit(limit)
      const gone = await db.batch([
        { query: db.kysely.deleteFrom("messages").where("id", "in", messages).returning("id") },
        {
          query: db.kysely
            .deleteFrom("run_events")
            .where("run_id", "in", runs.limit(Math.ceil(limit / 10)))
            .returning("seq"),
        },
      ])
      if (gone.some((rows) => rows.length > 0)) return true
      const last = await db.batch([
        { query: db.kysely.deleteFrom("sessions").where("id", "in", sessions.limit(limit)).returning("id") },
        { query: db.kysely.deleteFrom("runs").where("id", "in", runs.limit(limit)).returning("id") },
      ])
      if (last.some((rows) => rows.length > 0)) return true
      await db.batch([{ query: db.kysely.deleteFrom("meta").where("name", "=", REMOVED_PREFIX + agentId) }])
      return false
    },

    async setDeploy(userId: string, agentId: string, deploy: string): Promise<void> {
      await db.batch([{ query: forUser(db, userId).update("agents").set({ deploy }).where("id", "=", agentId) }])
    },

    /** Agents whose deployment an earlier start did not end. */
    undeployed: async (limit: number) => {
      const found = await db.read
        .selectFrom("agents")
        .innerJoin("users", "users.id", "agents.user_id")
        .select(["agents.id", "agents.user_id"])
        .where("users.state", "<>", "deleting")
        .where("agents.deploy", "like", '%"status":"pending"%')
        .limit(limit)
        .execute()
      return found
    },

    /** The user of an agent that may run something. */
    async ownerOf(agentId: string): Promise<string | null> {
      const row = await db.read
        .selectFrom("agents")
        .innerJoin("users", "users.id", "agents.user_id")
        .select("agents.user_id")
        .where("agents.id", "=", agentId)
        .where("users.state", "=", "active")
        .executeTakeFirst()
      return row?.user_id ?? null
    },

    async setMemory(userId: string, agentId: string, memory: string): Promise<void> {
      await db.batch([{ query: forUser(db, userId).update("agents").set({ memory }).where("id", "=", agentId) }])
    },

    /** What a run needs to know of its agent. */
    async forRun(userId: string, agentId: string) {
      const row = await forUser(db, userId)
        .select("agents")
        .select(["name", "description", "config", "memory", "prompt_version", "host_uid"])
        .where("id", "=", agentId)
        .executeTakeFirst()
      return row ?? null
    },

    /** As the plan's limit counts them: messages that wait in a session take the place of the one that runs. */
    async openRuns(userId: string): Promise<number> {
      const row = await forUser(db, userId)
        .select("runs")
        .select(sql<number>`count(distinct coalesce(session_id, id))`.as("n"))
        .where("finished_at", "is", null)
        .executeTakeFirstOrThrow()
      return row.n
    },
  }
}
