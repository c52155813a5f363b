import { sql } from "kysely"
import type { Database } from "../db/database.ts"
import type { Schema } from "../db/schema.ts"

/** Every table with a user's rows, by the columns that tell its rows apart. The audit is the platform's and stays. */
const TABLES = [
  ["messages", "id"],
  ["run_events", "run_id"],
  ["logs", "id"],
  ["runs", "id"],
  ["sessions", "id"],
  ["attachments", "hash"],
  ["reservations", "id"],
  ["idempotency", "id"],
  ["templates", "owner_id"],
  ["secrets", "key"],
  ["skills", "id"],
  ["api_keys", "hash"],
  ["data_keys", "user_id"],
  ["agents", "id"],
] as const satisfies readonly (readonly [keyof Schema, string])[]

/** Runs' events are many to one run: fewer runs at a time. */
const EVENTS_OF_RUNS = 50

export function purgeStore(db: Database) {
  return {
    async deleting(): Promise<string[]> {
      const rows = await db.read
        .selectFrom("users")
        .select("id")
        // Written out, as the index that holds none but these asks for.
        .where("state", "=", sql.lit("deleting"))
        .orderBy("id")
        .execute()
      return rows.map((row) => row.id)
    },

    /** Removes up to `limit` rows of one table; false once none has any left. */
    async removeSome(userId: string, limit: number): Promise<boolean> {
      for (const [table, column] of TABLES) {
        const most = table === "run_events" ? EVENTS_OF_RUNS : limit
        const name = sql.table(table)
        const key = sql.ref(column)
        const some = sql`select ${key} from ${name} where user_id = ${userId} limit ${most}`
        const query = sql`delete from ${name} where user_id = ${userId} and ${key} in (${some}) returning 1 as gone`
        const [gone] = await db.batch([{ query: { compile: () => query.compile(db.kysely) } }])
        if (gone.length > 0) return true
      }
      return false
    },

    /**
     * The last step. What the platform's keys have paid for the user stays as a sum without a name: else a deletion
     * would make room under the platform's daily ceiling.
     */
    async finish(userId: string): Promise<void> {
      const zero = sql<number>`0`
      const sums = db.kysely
        .selectFrom("usage_daily")
        .where("user_id", "=", userId)
        .where("platform_cost_nano", ">", 0)
        .groupBy("day")
        .select([
          sql<string>`''`.as("user_id"),
          sql<string>`''`.as("agent_id"),
          sql<string>`''`.as("agent_name"),
          sql<string>`''`.as("model"),
          "day",
          zero.as("input_tokens"),
          zero.as("output_tokens"),
          zero.as("cache_read_tokens"),
          zero.as("cache_write_tokens"),
          sql<number>`cast(sum(cost_nano) as bigint)`.as("cost_nano"),
          sql<number>`cast(sum(platform_cost_nano) as bigint)`.as("platform_cost_nano"),
          zero.as("runs"),
          zero.as("estimated_calls"),
        ])
      const columns = [
        ...(["user_id", "agent_id", "agent_name", "model", "day", "input_tokens", "output_tokens"] as const),
        ...(["cache_read_tokens", "cache_write_tokens", "cost_nano", "platform_cost_nano", "runs"] as const),
        "estimated_calls" as const,
      ]
      await db.batch([
        {
          query: db.kysely
            .insertInto("usage_daily")
            .columns(columns)
            .expression(sums)
            .onConflict((c) =>
              c.columns(["user_id", "day", "agent_id", "model"]).doUpdateSet((e) => ({
                cost_nano: e("usage_daily.cost_nano", "+", e.ref("excluded.cost_nano")),
                platform_cost_nano: e("usage_daily.platform_cost_nano", "+", e.ref("excluded.platform_cost_nano")),
              })),
            ),
        },
        { query: db.kysely.deleteFrom("usage_daily").where("user_id", "=", userId) },
        { query: db.kysely.deleteFrom("users").where("id", "=", userId).where("state", "=", "deleting") },
      ])
    },
  }
}
