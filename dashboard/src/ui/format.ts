import { t } from "../texts.ts"

const number = new Intl.NumberFormat("en")
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 })

export const count = (n: number) => number.format(n)
export const compact = (n: number) => (n < 10_000 ? number.format(n) : short.format(n))

export function usd(n: number): string {
  if (n === 0) return "$0"
  if (n < 0.01) return `$${n.toPrecision(2)}`
  return `$${n.toFixed(2)}`
}

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`
  const units = ["KiB", "MiB", "GiB", "TiB"]
  let value = n / 1024
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${value < 10 && !Number.isInteger(value) ? value.toFixed(1) : Math.round(value)} ${units[unit]}`
}

export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`
}

export const orUnlimited = (value: number | null, show: (n: number) => string) =>
  value === null ? t.unlimited : show(value)
