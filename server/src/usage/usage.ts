import type { Limits } from "@autonomis/contract/plans.ts"
import type { UsageReport } from "@autonomis/contract/usage.ts"
import type { Database } from "../db/database.ts"
import type { Clock } from "../lib/clock.ts"
import { daysOf, monthOf } from "./calendar.ts"
import { toUsd } from "./money.ts"
import { type DayRow, daysBetween } from "./store.ts"

export interface UsageOfUser {
  /** A month's sums, the current one unless told (`YYYY-MM`, UTC). */
  report(userId: string, limits: Limits, month?: string): Promise<UsageReport>
}

export function createUsage(db: Database, clock: Clock): UsageOfUser {
  return {
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
