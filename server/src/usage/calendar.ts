/** Months and days are UTC everywhere: in sums, limits and answers. */

/** `YYYY-MM-DD`. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

/** `YYYY-MM`. */
export function monthOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 7)
}

/** The first and last day that a month's text can name; days sort as text. */
export function daysOf(month: string): { from: string; to: string } {
  return { from: `${month}-01`, to: `${month}-31` }
}

/** When the next day or month begins, in milliseconds. */
export function nextDay(ms: number): number {
  const date = new Date(ms)
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate() + 1)
}

export function nextMonth(ms: number): number {
  const date = new Date(ms)
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1)
}
