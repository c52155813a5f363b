export type LogLevel = "debug" | "info" | "warn" | "error"
export type LogFields = Record<string, unknown>

/** The platform's own log. Fields are data: an `Error` is written with its stack and causes, everything on one line. */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

/** What `JSON.stringify` leaves as it is and a terminal or a viewer may obey: DEL, C1 controls, line separators. */
const UNSAFE = /[\u007f-\u009f\u2028\u2029]/g

/** Writes one JSON object a line, with no character that could break a line or move a terminal. */
export function jsonLogger(write: (line: string) => void, now: () => number, least: LogLevel = "info"): Logger {
  const order: LogLevel[] = ["debug", "info", "warn", "error"]
  const at = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (order.indexOf(level) < order.indexOf(least)) return
    write(oneJsonLine({ time: new Date(now()).toISOString(), level, message, ...fields }))
  }
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") }
}

/** A value as one line of JSON, its end included. */
export function oneJsonLine(value: object): string {
  return `${safe(JSON.stringify(value, plain))}\n`
}

/** A string as it stands in such a line. */
export const jsonString = (text: string): string => safe(JSON.stringify(text))

const safe = (json: string): string =>
  json.replace(UNSAFE, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)

function plain(_key: string, value: unknown): unknown {
  if (!(value instanceof Error)) return typeof value === "bigint" ? String(value) : value
  return { name: value.name, message: value.message, stack: value.stack, cause: value.cause }
}

export const silentLogger: Logger = { debug() {}, info() {}, warn() {}, error() {} }
