import type { LogFields, Logger, LogLevel } from "../lib/log.ts"
import type { Logs } from "./logs.ts"

/** The platform's log, also kept for `GET /logs`. An error's text stands there, its stack in the first log alone. */
export function teeLogger(first: Logger, logs: Logs): Logger {
  const at = (level: LogLevel) => (message: string, fields?: LogFields) => {
    first[level](message, fields)
    if (level === "debug") return
    logs.write({ userId: null, level, source: "platform", message: withFields(message, fields) })
  }
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") }
}

function withFields(message: string, fields: LogFields = {}): string {
  const parts = Object.entries(fields).map(([name, value]) => `${name}=${asText(value)}`)
  return [message, ...parts].join(" ")
}

function asText(value: unknown): string {
  if (value instanceof Error) return JSON.stringify(value.message)
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return String(value)
  }
}
