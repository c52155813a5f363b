import {
  type DeleteQueryBuilder,
  type InsertObject,
  type SelectQueryBuilder,
  sql,
  type UpdateQueryBuilder,
  type UpdateResult,
} from "kysely"
import { AppError } from "../lib/errors.ts"
import type { BatchRows, Database, Step } from "./database.ts"
import type { Schema } from "./schema.ts"

/** The tables whose rows belong to a user. */
export type UserTable =
  | "data_keys"
  | "api_keys"
  | "agents"
  | "templates"
  | "secrets"
  | "skills"
  | "sessions"
  | "messages"
  | "runs"
  | "run_events"
  | "usage_daily"
  | "reservations"
  | "attachments"
  | "logs"
  | "audit"

/**
 * The database as one user sees it: every query is bound to the user's id, so that a forgotten `where` cannot leak, and
 * nothing is written once the user is being deleted.
 */
export interface UserDb {
  readonly userId: string
  select<T extends UserTable>(table: T): SelectQueryBuilder<Schema, T, unknown>
  insert<T extends UserTable>(table: T, values: Omit<InsertObject<Schema, T>, "user_id">): Step
  update<T extends UserTable>(table: T): UpdateQueryBuilder<Schema, T, T, UpdateResult>
  delete<T extends UserTable>(table: T): DeleteQueryBuilder<Schema, T, unknown>
  /** As `Database.batch`, refused with 404 when the user is gone or going. */
  batch<const S extends readonly Step[]>(steps: S): Promise<BatchRows<S>>
}

/** The error for a user who is not there, the same for somebody else's. */
export const noSuchUser = (): AppError => new AppError("not_found", "user not found")

export function forUser(db: Database, userId: string): UserDb {
  const alive: Step = {
    // On PostgreSQL the lock keeps a deletion from slipping in between this look and the commit.
    query: aliveQuery(db, userId),
    rows: 1,
    otherwise: noSuchUser,
  }
  // Kysely cannot follow a table that is a type parameter; each cast below restates the call's own table.
  return {
    userId,
    select: <T extends UserTable>(table: T) =>
      db.read
        .selectFrom<UserTable>(table)
        .where(sql.ref(`${table}.user_id`), "=", userId) as unknown as SelectQueryBuilder<Schema, T, unknown>,
    insert: (table, values) => ({
      query: db.kysely
        .insertInto<UserTable>(table)
        .values({ ...values, user_id: userId } as InsertObject<Schema, UserTable>),
    }),
    update: <T extends UserTable>(table: T) =>
      db.kysely.updateTable<UserTable>(table).where(sql.ref("user_id"), "=", userId) as unknown as UpdateQueryBuilder<
        Schema,
        T,
        T,
        UpdateResult
      >,
    delete: <T extends UserTable>(table: T) =>
      db.kysely.deleteFrom<UserTable>(table).where(sql.ref("user_id"), "=", userId) as unknown as DeleteQueryBuilder<
        Schema,
        T,
        unknown
      >,
    async batch<const S extends readonly Step[]>(steps: S) {
      const [, ...rows] = await db.batch([alive, ...steps])
      return rows as BatchRows<S>
    },
  }
}

function aliveQuery(db: Database, userId: string) {
  const query = db.kysely.selectFrom("users").select("id").where("id", "=", userId).where("state", "<>", "deleting")
  return db.dialect === "postgres" ? query.forShare() : query
}
