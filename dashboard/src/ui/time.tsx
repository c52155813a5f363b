import { t } from "../texts.ts"

const UNITS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
]
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" })
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" })
const clockTime = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
})
const dayTime = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" })

/** A time in the reader's zone: how long ago, and exactly on hover. */
export function Ago({ time }: { time: string | null }) {
  if (time === null) return <>{t.never}</>
  const seconds = (Date.parse(time) - Date.now()) / 1000
  const [unit, size] = UNITS.find(([, s]) => Math.abs(seconds) >= s) ?? ["second", 1]
  const text = unit === "second" ? t.justNow : relative.format(Math.round(seconds / size), unit)
  return (
    <time dateTime={time} title={fullTime(time)}>
      {text}
    </time>
  )
}

export const fullTime = (time: string) => full.format(Date.parse(time))
export const logTime = (time: string) => `${dayTime.format(Date.parse(time))} ${clockTime.format(Date.parse(time))}`
