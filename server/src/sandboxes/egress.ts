import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http"
import { connect, type Socket } from "node:net"
import { type Duplex, pipeline } from "node:stream"
import { isPublicAddress, type Lookup, resolvePublic } from "../lib/address.ts"
import { AppError, messageOf } from "../lib/errors.ts"
import type { Logger } from "../lib/log.ts"
import type { EgressPolicy, SandboxSpec } from "./driver.ts"

export interface EgressOptions {
  log: Logger
  /** Ports that may be reached; 80 and 443 unless told. */
  ports?: number[]
  /** The platform's own lists; an agent's narrow them. */
  policy?: EgressPolicy
  /** For tests that play the internet. */
  lookup?: Lookup
  isAllowed?: (ip: string) => boolean
}

/** The proxy through which sandboxes reach the outside: HTTP and CONNECT, names resolved and judged here, once. */
export interface Egress extends AsyncDisposable {
  /** Serves one connection of a sandbox. */
  serve(spec: SandboxSpec, stream: Duplex): void
  /** Since the start. */
  counts(): EgressCounts
}

export interface EgressCounts {
  connections: number
  refused: number
  bytesOut: number
  bytesIn: number
}

const CONNECT_MS = 15_000
const IDLE_MS = 120_000
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
  const { log, ports = [80, 443], policy = { allow: null, deny: [] } } = options
  const counts: EgressCounts = { connections: 0, refused: 0, bytesOut: 0, bytesIn: 0 }
  const owners = new WeakMap<Duplex, SandboxSpec>()
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

  /** Judges a destination and connects to the judged address; nothing is looked up a second time. */
  async function reach(spec: SandboxSpec, host: string, port: number): Promise<Socket> {
    const name = host.toLowerCase().replace(/\.$/, "")
    if (!ports.includes(port))
      throw new AppError("forbidden", `port ${port} may not be reached (allowed: ${ports.join(", ")})`)
    for (const { allow, deny } of [policy, spec.egress ?? { allow: null, deny: [] }]) {
      if (deny.some((domain) => isBelow(name, domain))) throw new AppError("forbidden", `${name} is denied by policy`)
      if (allow !== null && !allow.some((domain) => isBelow(name, domain)))
        throw new AppError("forbidden", `${name} is not allowed by policy`)
    }
    const signal = AbortSignal.timeout(CONNECT_MS)
    const { lookup, isAllowed = isPublicAddress } = options
    const { address, family } = await resolvePublic(name, {
      signal,
      isAllowed,
      ...(lookup === undefined ? {} : { lookup }),
    })
    const socket = connect({ host: address, port, family, autoSelectFamily: false })
    await new Promise<void>((resolve, reject) => {
      const late = () => socket.destroy(new Error("no connection in time"))
      signal.addEventListener("abort", late, { once: true })
      socket.once("connect", resolve)
      socket.once("error", reject)
      socket.once("close", () => reject(new Error("closed")))
    }).catch((cause) => {
      throw new AppError("failed_dependency", `${name}:${port} could not be reached`, { cause })
    })
    socket.setTimeout(IDLE_MS, () => socket.destroy())
    counts.connections++
    log.info("egress", { user: spec.userId, agent: spec.id, host: name, port, address })
    socket.once("close", () => {
      counts.bytesIn += socket.bytesRead
      counts.bytesOut += socket.bytesWritten
      log.info("egress ended", {
        user: spec.userId,
        agent: spec.id,
        host: name,
        port,
        bytes_in: socket.bytesRead,
        bytes_out: socket.bytesWritten,
      })
    })
    return socket
  }

  function refusal(spec: SandboxSpec, host: string, error: unknown): { status: number; message: string } {
    counts.refused++
    log.info("egress refused", {
      user: spec.userId,
      agent: spec.id,
      host: host.slice(0, 300).replace(/[^\x21-\x7e]/g, "?"),
      reason: messageOf(error),
    })
    if (!(error instanceof AppError)) return { status: 502, message: "the destination could not be reached" }
    return { status: error.code === "forbidden" ? 403 : 502, message: error.message }
  }

  async function tunnel(request: IncomingMessage, stream: Duplex, head: Buffer): Promise<void> {
    const spec = owners.get(stream)
    if (spec === undefined) return void stream.destroy()
    const target = /^(\[[0-9a-f:.]+\]|[^:/[\]]+):(\d{1,5})$/i.exec(request.url ?? "")
    try {
      if (target === null) throw new AppError("forbidden", "CONNECT wants host:port")
      const socket = await reach(spec, target[1] ?? "", Number(target[2]))
      stream.write("HTTP/1.1 200 Connection established\r\n\r\n")
      if (head.length > 0) socket.write(head)
      pipeline(stream, socket, () => {})
      pipeline(socket, stream, () => {})
    } catch (error) {
      const { status, message } = refusal(spec, request.url ?? "", error)
      stream.end(
        `HTTP/1.1 ${status} ${status === 403 ? "Forbidden" : "Bad Gateway"}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n${message}\n`,
      )
    }
  }

  async function forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const spec = owners.get(request.socket)
    if (spec === undefined) return void request.socket.destroy()
    try {
      const url = absolute(request.url ?? "")
      const socket = await reach(spec, url.hostname, Number(url.port || 80))
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
      const { status, message } = refusal(spec, request.url ?? "", error)
      plain(response, status, message)
    }
  }

  return {
    serve(spec, stream) {
      // The HTTP parser asks a few things of its connection that only sockets have.
      const connection = Object.assign(stream, {
        setTimeout: () => connection,
        setNoDelay: () => connection,
        setKeepAlive: () => connection,
      })
      owners.set(connection, spec)
      open.add(connection)
      connection.once("close", () => open.delete(connection))
      server.emit("connection", connection)
    },
    counts: () => ({ ...counts }),
    async [Symbol.asyncDispose]() {
      for (const stream of open) stream.destroy()
    },
  }
}

const isBelow = (name: string, domain: string) =>
  name === domain.toLowerCase() || name.endsWith(`.${domain.toLowerCase()}`)

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
