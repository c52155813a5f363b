import { type Expression, sql } from "kysely"
import type { Database, Step } from "../db/database.ts"
import { dayOf, daysOf, monthOf } from "./calendar.ts"

export type DimensionName = "tokens_per_month" | "usd_per_month" | "usd_per_day" | "platform_usd_per_day"

/** One limit that a call must stay under: tokens, or nano-USD. */
export interface Dimension {
  name: DimensionName
  most: number
  /** The instant that says which day and month count. */
  now: number
}

/** What a dimension has left, with and without what others hold but have not spent. */
export interface Amount {
  dimension: Dimension
  used: number
  reserved: number
}

/** What a reservation takes of each dimension. */
export interface Holding {
  tokens: number
  cost_nano: number
  platform_cost_nano: number
}

/** Thrown inside the batch when another reservation took the room in between. */
export class NoRoom extends Error {
  override readonly name = "NoRoom"
}

/** Any number that no other lock of the program uses. */
const PLATFORM_LOCK = 7_206_114_890

const HELD = {
  tokens_per_month: "tokens",
  usd_per_month: "cost_nano",
  usd_per_day: "cost_nano",
  platform_usd_per_day: "platform_cost_nano",
} as const satisfies Record<DimensionName, keyof Holding>

export const heldOf = (dimension: DimensionName, holding: Holding): number => holding[HELD[dimension]]

function usedSql(userId: string, { name, now }: Dimension): Expression<number> {
  const { from, to } = daysOf(monthOf(now))
  const today = dayOf(now)
  switch (name) {
    case "tokens_per_month":
      return sql<number>`(select coalesce(sum(input_tokens + output_tokens + cache_read_tokens + cache_write_tokens), 0)
        from usage_daily where user_id = ${userId} and day >= ${from} and day <= ${to})`
    case "usd_per_month":
      return sql<number>`(select coalesce(sum(cost_nano), 0) from usage_daily
        where user_id = ${userId} and day >= ${from} and day <= ${to})`
    case "usd_per_day":
      return sql<number>`(select coalesce(sum(cost_nano), 0) from usage_daily where user_id = ${userId} and day = ${today})`
    case "platform_usd_per_day":
      return sql<number>`(select coalesce(sum(platform_cost_nano), 0) from usage_daily where day = ${today})`
  }
}

function reservedSql(userId: string, { name }: Dimension): Expression<number> {
  const column = sql.ref(HELD[name])
  return name === "platform_usd_per_day"
    ? sql<number>`(select coalesce(sum(${column}), 0) from reservations)`
    : sql<number>`(select coalesce(sum(${column}), 0) from reservations where user_id = ${userId})`
}

export async function amountsOf(db: Database, userId: string, dimensions: readonly Dimension[]): Promise<Amount[]> {
  const row = await db.read
    .selectNoFrom(
      dimensions.flatMap((dimension) => [
        sql<number>`${usedSql(userId, dimension)}`.as(`${dimension.name}_used`),
        sql<number>`${reservedSql(userId, dimension)}`.as(`${dimension.name}_reserved`),
      ]),
    )
    .executeTakeFirstOrThrow()
  const amounts = new Map<string, number>(Object.entries(row))
  return dimensions.map((dimension) => ({
    dimension,
    used: amounts.get(`${dimension.name}_used`) ?? 0,
    reserved: amounts.get(`${dimension.name}_reserved`) ?? 0,
  }))
}

/** On PostgreSQL those who reserve for one user (or from the platform's ceiling) take turns; SQLite has one writer. */
export function lockSteps(db: Database, userId: string, dimensions: readonly Dimension[]): Step[] {
  const user = db.kysely.selectFrom("users").select("id").where("id", "=", userId).where("state", "<>", "deleting")
  const steps: Step[] = [
    { query: db.dialect === "postgres" ? user.forUpdate() : user, rows: 1, otherwise: () => new NoRoom() },
  ]
  if (db.dialect === "postgres" && dimensions.some(({ name }) => name === "platform_usd_per_day")) {
    steps.push({ query: db.kysely.selectNoFrom(sql`pg_advisory_xact_lock(${PLATFORM_LOCK})`.as("locked")) })
  }
  return steps
}

/** Fails the batch with `NoRoom` where what is used, what is held and this holding pass a limit together. */
export function guardSteps(db: Database, userId: string, dimensions: readonly Dimension[], holding: Holding): Step[] {
  return dimensions.map((dimension) => ({
    query: db.kysely.selectNoFrom(sql<number>`1`.as("fits")).where(
      sql<boolean>`${usedSql(userId, dimension)} + ${reservedSql(userId, dimension)}
          + ${heldOf(dimension.name, holding)} <= ${dimension.most}`,
    ),
    rows: 1,
    otherwise: () => new NoRoom(),
  }))
}
