import { sql } from "kysely"
import type { Database, Step } from "../db/database.ts"
import { forUser } from "../db/for-user.ts"
import { prepared } from "../db/prepared.ts"
import type { Schema } from "../db/schema.ts"

export type SecretRow = Schema["secrets"]

export function secretStore(db: Database) {
  const stampOf = prepared<{ count: number; last: number | null }, [string]>(
    db,
    forUser(db, "")
      .select("secrets")
      .select((e) => [e.fn.countAll<number>().as("count"), e.fn.max("updated_at").as("last")]),
  )
  return {
    list: (userId: string) => forUser(db, userId).select("secrets").selectAll().orderBy("key").execute(),

    agentNames: (userId: string) => forUser(db, userId).select("agents").select(["id", "name"]).execute(),

    /** Changes with every change of the user's secrets, also with those that another server made. */
    async stamp(userId: string): Promise<string> {
      const [row] = await stampOf(userId)
      return `${row?.count}:${row?.last}`
    },

    /**
     * `agents` undefined: as it stands, and every agent for a new secret. Run behind the user's lock: the time is later
     * than that of any other change, so that `stamp` tells of each.
     */
    put(userId: string, row: Omit<SecretRow, "user_id" | "agents">, agents: string | null | undefined): Step {
      const last = db.kysely
        .selectFrom("secrets")
        .select((e) => e.fn.max("updated_at").as("last"))
        .where("user_id", "=", userId)
      const now = sql<number>`cast(${row.updated_at} as bigint)`
      const later = sql<number>`case when ${last} >= ${now} then ${last} + 1 else ${now} end`
      return {
        query: db.kysely
          .insertInto("secrets")
          .values({ ...row, user_id: userId, agents: agents ?? null, updated_at: later })
          .onConflict((c) =>
            c.columns(["user_id", "key"]).doUpdateSet((e) => ({
              sealed: row.sealed,
              masked: row.masked,
              updated_at: e.ref("excluded.updated_at"),
              ...(agents === undefined ? {} : { agents }),
            })),
          ),
        rows: 1,
      }
    },

    atMost(userId: string, max: number, tooMany: () => Error): Step {
      const count = db.kysely
        .selectFrom("secrets")
        .select((e) => e.fn.countAll<number>().as("n"))
        .where("user_id", "=", userId)
      return {
        query: db.kysely.selectFrom("users").select("id").where("id", "=", userId).where(count, "<=", max),
        rows: 1,
        otherwise: tooMany,
      }
    },

    delete(userId: string, key: string, absent: () => Error): Step {
      return { query: forUser(db, userId).delete("secrets").where("key", "=", key), rows: 1, otherwise: absent }
    },

    dataKey: (userId: string) =>
      forUser(db, userId).select("data_keys").select(["sealed", "master_version"]).executeTakeFirst(),

    /** Another server may have been first: then its key stays. */
    async addDataKey(userId: string, sealed: Uint8Array, masterVersion: number, now: number): Promise<void> {
      const row = { user_id: userId, sealed, master_version: masterVersion, created_at: now }
      await forUser(db, userId).batch([
        {
          query: db.kysely
            .insertInto("data_keys")
            .values(row)
            .onConflict((c) => c.column("user_id").doNothing()),
        },
      ])
    },
  }
}
