import type { Limits } from "@autonomis/contract/plans.ts"
import type { UsageReport } from "@autonomis/contract/usage.ts"
import type { Database, Step } from "../db/database.ts"
import type { Clock } from "../lib/clock.ts"
import { NO_USAGE } from "../runtime/usage.ts"
import { dayOf, daysOf, monthOf } from "./calendar.ts"
import { toUsd } from "./money.ts"
import { LEAST_MAX_TOKENS } from "./room.ts"
import { addToDay, type DayRow, daysBetween, type UsageKey } from "./store.ts"

export { type Budgets, createBudgets, type Payer, type Reservation } from "./budgets.ts"

export interface UsageOfUser {
  /** A month's sums, the current one unless told (`YYYY-MM`, UTC). */
  report(userId: string, limits: Limits, month?: string): Promise<UsageReport>
  /** Is one of the user's own budgets spent, so that no further call would be granted? */
  isSpent(userId: string, limits: Limits): Promise<boolean>
}

/** Counts a run that begins now; goes into the batch of its beginning. */
export function countRun(db: Database, run: Omit<UsageKey, "day">, now: number): Step {
  return addToDay(db, { ...run, day: dayOf(now) }, { usage: NO_USAGE, platformPays: false, runs: 1 })
}

export function createUsage(db: Database, clock: Clock): UsageOfUser {
  const reached = (used: number, limit: number | null) => limit !== null && used >= limit
  return {
    async isSpent(userId, limits) {
      const { tokens_per_month, usd_per_month, usd_per_day } = limits
      if (tokens_per_month === null && usd_per_month === null && usd_per_day === null) return false
      const now = clock.now()
      const { from, to } = daysOf(monthOf(now))
      const rows = await daysBetween(db, userId, from, to)
      const month = sum(rows)
      const today = sum(rows.filter((row) => row.day === dayOf(now)))
      // What is left must pay for the least answer that a call may be cut down to.
      return (
        reached(month.tokens.total + LEAST_MAX_TOKENS, tokens_per_month) ||
        reached(month.cost_usd, usd_per_month) ||
        reached(today.cost_usd, usd_per_day)
      )
    },
    async report(userId, limits, month = monthOf(clock.now())) {
      const { from, to } = daysOf(month)
      const rows = await daysBetween(db, userId, from, to)
      return {
        month,
        ...sum(rows),
        limit_tokens: limits.tokens_per_month,
        by_agent: grouped(rows, (row) => row.agent_name).map(([agent, sums]) => ({ agent, ...sums })),
        by_model: grouped(rows, (row) => row.model).map(([model, sums]) => ({ model, ...sums })),
        by_day: grouped(rows, (row) => row.day).map(([date, sums]) => ({ date, ...sums })),
      }
    },
  }
}

function sum(rows: readonly DayRow[]) {
  const tokens = { input: 0, output: 0, cache_read: 0, cache_write: 0, total: 0 }
  let nano = 0
  let runs = 0
  let estimated = false
  for (const row of rows) {
    tokens.input += row.input_tokens
    tokens.output += row.output_tokens
    tokens.cache_read += row.cache_read_tokens
    tokens.cache_write += row.cache_write_tokens
    nano += row.cost_nano
    runs += row.runs
    estimated ||= row.estimated_calls > 0
  }
  tokens.total = tokens.input + tokens.output + tokens.cache_read + tokens.cache_write
  return { tokens, cost_usd: toUsd(nano), runs, estimated }
}

function grouped(rows: readonly DayRow[], key: (row: DayRow) => string) {
  return [...Map.groupBy(rows, key)]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, group]) => [name, sum(group)] as const)
}
