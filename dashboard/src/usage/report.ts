import type { UsageReport } from "@autonomis/contract/usage.ts"

export interface Bar {
  label: string
  value: number
  detail: string
}

/** One bar for each day of the month (UTC, as it is counted), days without use included. */
export function daysOf({ month, by_day: days }: UsageReport): Bar[] {
  const [year = 0, number = 1] = month.split("-").map(Number)
  const length = new Date(Date.UTC(year, number, 0)).getUTCDate()
  const known = new Map(days.map((day) => [day.date, day]))
  return Array.from({ length }, (_, i) => {
    const date = `${month}-${String(i + 1).padStart(2, "0")}`
    const day = known.get(date)
    return { label: String(i + 1), value: day?.tokens.total ?? 0, detail: `${date}: ${day?.tokens.total ?? 0} tokens` }
  })
}

/** The month's total at its end, if the rest goes as it went so far. */
export function forecastOf(total: number, now: Date): number {
  const begin = Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), 1)
  const end = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1)
  // In its first hours a month tells nothing about the rest of it.
  const gone = Math.max(now.getTime() - begin, 86_400_000 / 2)
  return Math.round((total * (end - begin)) / gone)
}

/** A name that a spreadsheet would run as a formula is shown as text. */
const cell = (value: string | number) => {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value)
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

export function csvOf({ by_day, by_agent, by_model }: UsageReport): string {
  const head = ["group", "name", "input", "output", "cache_read", "cache_write", "total", "cost_usd", "runs"]
  const rows = [
    ...by_day.map((r) => ({ group: "day", name: r.date, ...r })),
    ...by_agent.map((r) => ({ group: "agent", name: r.agent, ...r })),
    ...by_model.map((r) => ({ group: "model", name: r.model, ...r })),
  ]
  const lines = rows.map(({ group, name, tokens: n, cost_usd, runs }) =>
    [group, name, n.input, n.output, n.cache_read, n.cache_write, n.total, cost_usd, runs].map(cell).join(","),
  )
  return `${[head.join(","), ...lines].join("\r\n")}\r\n`
}
