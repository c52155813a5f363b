import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http"
import { type Duplex, pipeline } from "node:stream"
import { AppError, messageOf } from "../../lib/errors.ts"
import {
  createEgressJournal,
  type EgressCounts,
  type EgressOwner,
  type EgressReport,
  type Refusals,
} from "./journal.ts"
import { createReach, type ReachOptions } from "./reach.ts"

export interface EgressOptions extends ReachOptions {
  /** Told once a second what went where; the log unless told. */
  report?: EgressReport
}

/** The proxy through which sandboxes reach the outside: HTTP and CONNECT, names resolved and judged here, once. */
export interface Egress extends AsyncDisposable {
  /** Serves one connection of a sandbox. */
  serve(owner: EgressOwner, stream: Duplex): void
  /** Since the start. */
  counts(): EgressCounts
  /** Of one sandbox, so that its model can be told. */
  refusals(id: string): Refusals
}

/** Headers that concern one hop only. */
const HOP = [
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authorization",
  "proxy-authenticate",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]

export function createEgress(options: EgressOptions): Egress {
  const { log } = options
  const report: EgressReport = async (owner, records) => {
    for (const record of records) log.info("egress", { user: owner.userId, agent: owner.id, ...record })
  }
  const journal = createEgressJournal(options.report ?? report, log)
  const reach = createReach(options, journal)
  const owners = new WeakMap<Duplex, EgressOwner>()
  const open = new Set<Duplex>()
  const server = createServer({
    maxHeaderSize: 32 * 1024,
    headersTimeout: 15_000,
    requestTimeout: 0,
    keepAliveTimeout: 15_000,
  })
  server.on("request", (request, response) => void forward(request, response))
  server.on("connect", (request: IncomingMessage, stream: Duplex, head: Buffer) => void tunnel(request, stream, head))
  server.on("clientError", (_error, stream) => stream.destroy())

  function refusal(owner: EgressOwner, host: string, error: unknown): { status: number; message: string } {
    if (!(error instanceof AppError))
      log.warn("a sandbox's connection failed", { agent: owner.id, error: messageOf(error) })
    const message = shown(error instanceof AppError ? error.message : "the destination could not be reached")
    journal.refused(owner, shown(host), message)
    return { status: error instanceof AppError && error.code === "forbidden" ? 403 : 502, message }
  }

  async function tunnel(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    const owner = owners.get(stream)
    if (owner === undefined) return void stream.destroy()
    const target = /^(\[[0-9a-f:.]+\]|[^:/[\]]+):(\d{1,5})$/i.exec(request.url ?? "")
    try {
      if (target === null) throw new AppError("forbidden", "CONNECT wants host:port")
      const socket = await reach.connect(owner, target[1] ?? "", Number(target[2]))
      stream.write("HTTP/1.1 200 Connection established\r\n\r\n")
      if (head.length > 0) socket.write(head)
      pipeline(stream, socket, () => {})
      pipeline(socket, stream, () => {})
    } catch (error) {
      const { status, message } = refusal(owner, target?.[0] ?? "CONNECT", error)
      // Many clients show the status line's words alone.
      stream.end(`HTTP/1.1 ${status} ${message}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n${message}\n`)
    }
  }

  async function forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const owner = owners.get(request.socket)
    if (owner === undefined) return void request.socket.destroy()
    // Where it goes, and nothing of a path or query, which may hold secrets.
    let host = "no proxy request"
    try {
      const url = absolute(request.url ?? "")
      host = `${url.hostname}:${url.port || 80}`
      const socket = await reach.connect(owner, url.hostname, Number(url.port || 80))
      const headers = withoutHops(request)
      const upstream = httpRequest({
        createConnection: () => socket,
        method: request.method ?? "GET",
        path: url.pathname + url.search,
        // The name that was judged, whatever the request's own header says.
        headers: [...headers, "Host", url.host, "Connection", "close"],
        setHost: false,
      })
      upstream.once("response", (answer) => {
        response.writeHead(answer.statusCode ?? 502, withoutHops(answer))
        pipeline(answer, response, () => {})
      })
      upstream.once("error", () =>
        response.headersSent ? response.destroy() : plain(response, 502, "the destination closed the connection"),
      )
      response.once("close", () => socket.destroy())
      pipeline(request, upstream, () => {})
    } catch (error) {
      const { status, message } = refusal(owner, host, error)
      plain(response, status, message)
    }
  }

  return {
    serve(owner, stream) {
      // The HTTP parser asks a few things of its connection that only sockets have.
      const connection = Object.assign(stream, {
        setTimeout: () => connection,
        setNoDelay: () => connection,
        setKeepAlive: () => connection,
      })
      owners.set(connection, owner)
      open.add(connection)
      connection.once("close", () => open.delete(connection))
      server.emit("connection", connection)
    },
    counts: journal.counts,
    refusals: journal.refusals,
    async [Symbol.asyncDispose]() {
      for (const stream of open) stream.destroy()
      await reach[Symbol.asyncDispose]()
      await journal[Symbol.asyncDispose]()
    },
  }
}

const shown = (text: string) => text.slice(0, 300).replace(/[^\x20-\x7e]/g, "?")

function absolute(target: string): URL {
  const url = URL.canParse(target) ? new URL(target) : null
  if (url === null || url.protocol !== "http:")
    throw new AppError("forbidden", "this is a proxy: it wants an absolute http:// URL, or CONNECT")
  if (url.username !== "" || url.password !== "")
    throw new AppError("forbidden", "a URL with a user name is not forwarded")
  return url
}

/** Raw pairs, so that repeated headers stay as they were. */
function withoutHops(message: IncomingMessage): string[] {
  const named = (message.headers.connection ?? "").toLowerCase().split(/\s*,\s*/)
  const kept: string[] = []
  for (let i = 0; i < message.rawHeaders.length; i += 2) {
    const name = message.rawHeaders[i] ?? ""
    const lower = name.toLowerCase()
    if (
      HOP.includes(lower) ||
      named.includes(lower) ||
      (lower === "host" && message.method !== undefined && message.method !== null)
    )
      continue
    kept.push(name, message.rawHeaders[i + 1] ?? "")
  }
  return kept
}

function plain(response: ServerResponse, status: number, message: string): void {
  if (response.headersSent) return void response.destroy()
  response.writeHead(status, { "content-type": "text/plain", connection: "close" })
  response.end(`${message}\n`)
}
