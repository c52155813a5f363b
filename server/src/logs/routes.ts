import { contract } from "@autonomis/contract/endpoints.ts"
import type { LogEntry } from "@autonomis/contract/usage.ts"
import type { FastifyReply, FastifyRequest } from "fastify"
import { endpoint, type Route, SENT } from "../http/endpoint.ts"
import { openSse } from "../http/sse.ts"
import type { Veil } from "../lib/veil.ts"
import type { LogFilter, Logs, StoredLine } from "./logs.ts"

interface LogQuery {
  tail: number
  since?: string | undefined
  follow?: "true" | "false" | undefined
}
interface Source {
  logs: Logs
  veil: Veil
}
interface Call {
  request: FastifyRequest
  reply: FastifyReply
  readonly signal: AbortSignal
}

/** `veil`: a line is one of all tenants', so its id goes out veiled. */
export function logRoutes(logs: Logs, veil: Veil): Route[] {
  return [
    endpoint(contract.usage.logs, (call) => {
      const { user, query } = call
      return answer({ logs, veil }, { userId: user.id, agentName: query.agent, since: timeOf(query) }, query, call)
    }),
    endpoint(contract.usage.platformLogs, (call) =>
      answer({ logs, veil }, { userId: null, since: timeOf(call.query) }, call.query, call),
    ),
  ]
}

const timeOf = ({ since }: LogQuery) => (since === undefined ? undefined : Date.parse(since))

/** The same lines in the form that was asked for: JSON, plain text, or events as they come. */
async function answer(
  source: Source,
  filter: LogFilter,
  query: LogQuery,
  call: Call,
): Promise<{ logs: LogEntry[] } | typeof SENT> {
  const accept = call.request.headers.accept ?? ""
  if (query.follow === "true" || accept.includes("text/event-stream")) return await follow(source, filter, query, call)
  const lines = await source.logs.tail(filter, query.tail)
  if (!/^\s*text\/plain\b/.test(accept)) return { logs: lines.map(({ entry }) => entry) }
  call.reply.type("text/plain; charset=utf-8").header("Cache-Control", "no-store")
  call.reply.send(lines.map(({ entry }) => `${asText(entry)}\n`).join(""))
  return SENT
}

/** The tail first, or what came after `Last-Event-ID`, then each line as it is written. */
async function follow({ logs, veil }: Source, filter: LogFilter, query: LogQuery, call: Call): Promise<typeof SENT> {
  const lastId = veil.under(String(call.request.headers["last-event-id"] ?? ""))
  const newest = lastId ?? (await logs.newest())
  const before = lastId === null ? await logs.tail(filter, query.tail) : []
  const stream = openSse(call)
  const send = (lines: readonly StoredLine[]) => {
    for (const { id, entry } of lines) stream.send(veil.over(id), "log", entry)
  }
  send(before)
  const from = before.at(-1)?.id ?? 0
  void (async () => {
    for await (const lines of logs.follow(filter, Math.max(newest, from), stream.closed)) {
      send(lines)
      await stream.drained()
    }
  })().catch(() => stream.close())
  return SENT
}

function asText({ time, level, agent, source, message }: LogEntry): string {
  return `${time} ${level.toUpperCase().padEnd(5)} ${source}${agent === null ? "" : ` ${agent}`}: ${message}`
}
