/** One line of the benchmark. */
export interface Row {
  name: string
  median: number
  /** `ms`, `MB`, `×` (a ratio) … */
  unit: string
  /** Null: printed for its own sake. */
  limit: number | null
  /** The limit is the least that must be reached, not the most. */
  atLeast?: boolean
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export const median = (values: readonly number[]): number => percentile(values, 0.5)

/** Does each thing in turn, round by round, so that what the machine does meanwhile befalls all of them alike. */
export async function interleaved<K extends string>(
  rounds: number,
  things: Record<K, (round: number) => Promise<unknown>>,
): Promise<Record<K, number[]>> {
  const times = {} as Record<K, number[]>
  const names = Object.keys(things) as K[]
  for (const name of names) times[name] = []
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const start = performance.now()
      await things[name](round)
      times[name].push(performance.now() - start)
    }
  }
  return times
}

export function holds({ median, limit, atLeast }: Row): boolean {
  if (limit === null) return true
  return atLeast ? median >= limit : median <= limit
}

/** `name · median · limit · ok`, as a table in Markdown. */
export function table(rows: readonly Row[]): string {
  const lines = rows.map((row) => {
    const limit = row.limit === null ? "" : `${row.atLeast ? "≥" : "≤"} ${row.limit} ${row.unit}`
    return `| ${row.name} | ${number(row.median)} ${row.unit} | ${limit} | ${row.limit === null ? "" : holds(row) ? "ok" : "over"} |`
  })
  return ["| what | median or ratio | limit | |", "|---|---|---|---|", ...lines].join("\n")
}

function number(value: number): string {
  if (Number.isNaN(value)) return "–"
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2)
}
