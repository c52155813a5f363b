import { type QueryCreator, type RawBuilder, sql } from "kysely"
import type { Database, Step } from "../db/database.ts"
import type { Schema } from "../db/schema.ts"
import type { RunUsage } from "../runtime/transcript.ts"
import { toNano } from "./money.ts"

/** Whose sums a call or a run belongs to. The agent's name is kept too: an agent that is gone still has its sums. */
export interface UsageKey {
  userId: string
  agentId: string
  agentName: string
  /** `provider/model`. */
  model: string
  /** YYYY-MM-DD, UTC. */
  day: string
}

export interface UsageDelta {
  usage: RunUsage
  /** A platform key paid, so the cost counts against the platform's ceiling too. */
  platformPays: boolean
  runs: number
}

/** Adds to a day's sums, in one statement of the caller's batch; nothing for a user who is gone or going. */
export function addToDay(db: Database, key: UsageKey, delta: UsageDelta): Step {
  return { query: upsert(db.kysely, key, numbersOf(delta), sql`users`) }
}

/**
 * Deletes a reservation, and takes from the sums what it was booked as by a server that held its own for dead. In one
 * statement: another may be booking it right now (PostgreSQL).
 */
export function takeBack(db: Database, reservationId: string, key: UsageKey, booked: UsageDelta): Step {
  const numbers = numbersOf(booked).map((number) => -number)
  const kysely = db.kysely.with("gone", (creator) =>
    creator
      .deleteFrom("reservations")
      .where("id", "=", reservationId)
      .returning(sql<boolean>`owner = ${NOBODY}`.as("was_booked")),
  )
  return { query: upsert(kysely, key, numbers, sql`users join gone on gone.was_booked`) }
}

/** Owns a reservation that was booked as lost; it holds nothing any more. */
export const NOBODY = ""

const numbersOf = ({ usage, platformPays, runs }: UsageDelta): number[] => {
  const cost = toNano(usage.cost_usd)
  return [
    ...[usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens],
    ...[cost, platformPays ? cost : 0, runs, usage.estimated ? 1 : 0],
  ]
}

function upsert(kysely: QueryCreator<Schema>, key: UsageKey, numbers: number[], from: RawBuilder<unknown>) {
  const text = (value: string) => sql<string>`cast(${value} as text)`
  const int = (value: number) => sql<number>`cast(${value} as bigint)`
  const texts = [key.userId, key.agentId, key.agentName, key.model, key.day]
  const row = sql.join([...texts.map(text), ...numbers.map(int)])
  const values = sql<never>`select ${row} from ${from} where users.id = ${key.userId} and users.state <> 'deleting'`
  const plus = (column: string) => sql<number>`${sql.ref(`usage_daily.${column}`)} + ${sql.ref(`excluded.${column}`)}`
  return kysely
    .insertInto("usage_daily")
    .columns(COLUMNS)
    .expression(() => values)
    .onConflict((conflict) =>
      conflict.columns(["user_id", "day", "agent_id", "model"]).doUpdateSet({
        agent_name: sql<string>`excluded.agent_name`,
        input_tokens: plus("input_tokens"),
        output_tokens: plus("output_tokens"),
        cache_read_tokens: plus("cache_read_tokens"),
        cache_write_tokens: plus("cache_write_tokens"),
        cost_nano: plus("cost_nano"),
        platform_cost_nano: plus("platform_cost_nano"),
        runs: plus("runs"),
        estimated_calls: plus("estimated_calls"),
      }),
    )
}

const COLUMNS = [
  ...(["user_id", "agent_id", "agent_name", "model", "day"] as const),
  ...(["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"] as const),
  ...(["cost_nano", "platform_cost_nano", "runs", "estimated_calls"] as const),
]

export interface DayRow {
  agent_name: string
  model: string
  day: string
  input_tokens: number
  output_tokens: number
  cache_read_tokens: number
  cache_write_tokens: number
  cost_nano: number
  runs: number
  estimated_calls: number
}

/** A user's rows from one day to another, both included; at most one for each day, agent and model. */
export function daysBetween(db: Database, userId: string, from: string, to: string): Promise<DayRow[]> {
  return db.read
    .selectFrom("usage_daily")
    .select([
      "agent_name",
      "model",
      "day",
      "input_tokens",
      "output_tokens",
      "cache_read_tokens",
      "cache_write_tokens",
      "cost_nano",
      "runs",
      "estimated_calls",
    ])
    .where("user_id", "=", userId)
    .where("day", ">=", from)
    .where("day", "<=", to)
    .orderBy("day")
    .orderBy("agent_id")
    .orderBy("model")
    .execute()
}
