import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http"
import type { Socket } from "node:net"

/**
 * What a provider double answers to one request. All parts are optional; `{}` answers "OK".
 *
 *     double.script([{ toolCalls: [{ name: "bash", arguments: { command: "ls" } }] }, { text: "Done." }])
 *     double.script((request, index) => index === 0 ? { error: { status: 429, retryAfterSeconds: 1 } } : {})
 */
export interface Reply {
  /** Streamed word by word, each in its own event. */
  text?: string
  /** Streamed before the text. */
  thinking?: string
  toolCalls?: { id?: string; name: string; arguments: unknown }[]
  /** Characters of tool arguments in each event; all in one unless given. */
  argumentPieces?: number
  /** The wire's own word: `length`, `max_tokens`, `refusal` …; else what fits the reply. */
  stopReason?: string
  /** The provider's count; false leaves it out. Made from the request's and reply's length unless given. */
  usage?: { input?: number; output?: number; cacheRead?: number; cacheWrite?: number } | false
  /** Before the headers. */
  delayMs?: number
  /** Between two words. */
  wordDelayMs?: number
  error?: { status: number; message?: string; type?: string; retryAfterSeconds?: number }
  /** Never answers, or sends the headers and the first word and then nothing. */
  hang?: "headers" | "body"
  /** Destroys the connection after so many events. */
  breakAfterEvents?: number
  /** Sends one line of so many bytes instead of an answer. */
  lineOfBytes?: number
  /** Goes on with words until so many bytes were sent. */
  endlessBytes?: number
  redirectTo?: string
}

export interface DoubleRequest<Body> {
  method: string
  path: string
  headers: IncomingHttpHeaders
  body: Body
  /** True once the client has closed its connection before the answer was whole. */
  aborted: boolean
}

export type Script<Body> = readonly Reply[] | ((request: DoubleRequest<Body>, index: number) => Reply | Promise<Reply>)

export interface Double<Body> extends AsyncDisposable {
  /** `http://127.0.0.1:port` */
  readonly url: string
  readonly requests: DoubleRequest<Body>[]
  /** What is answered from now on. After the last reply of a list comes `{}`. Requests and their count are kept. */
  script(script: Script<Body>): void
}

/** One wire form: turns a reply into events of a stream or into one body. */
export interface Wire<Body> {
  isCall(method: string, path: string): boolean
  wantsStream(request: DoubleRequest<Body>): boolean
  /** Each string is one whole event, blank line included. */
  events(request: DoubleRequest<Body>, reply: Reply): string[]
  body(request: DoubleRequest<Body>, reply: Reply): unknown
  error(reply: NonNullable<Reply["error"]>): unknown
  /** Requests other than calls, e.g. the list of models. */
  other?(method: string, path: string): unknown
}

export async function startDouble<Body>(wire: Wire<Body>): Promise<Double<Body>> {
  const requests: DoubleRequest<Body>[] = []
  const sockets = new Set<Socket>()
  let script: Script<Body> = []
  let scripted = 0

  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const path = request.url ?? "/"
      const method = request.method ?? "GET"
      if (!wire.isCall(method, path)) {
        const other = wire.other?.(method, path)
        return json(response, other === undefined ? 404 : 200, other ?? wire.error({ status: 404 }))
      }
      const recorded: DoubleRequest<Body> = {
        method,
        path,
        headers: request.headers,
        body: JSON.parse(Buffer.concat(chunks).toString("utf8")),
        aborted: false,
      }
      requests.push(recorded)
      response.on("close", () => {
        recorded.aborted = !response.writableFinished
      })
      const index = scripted++
      const reply = typeof script === "function" ? script(recorded, index) : (script[index] ?? {})
      void Promise.resolve(reply).then(
        (reply) => answer(wire, recorded, reply, response),
        (error: unknown) => json(response, 500, wire.error({ status: 500, message: String(error) })),
      )
    })
  })
  server.on("connection", (socket) => {
    sockets.add(socket)
    socket.on("close", () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("the double has no port")

  return {
    url: `http://127.0.0.1:${address.port}`,
    requests,
    script(next) {
      script = next
      scripted = 0
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function answer<Body>(wire: Wire<Body>, request: DoubleRequest<Body>, reply: Reply, response: ServerResponse) {
  if (reply.delayMs !== undefined) await sleep(reply.delayMs)
  if (reply.hang === "headers") return
  if (reply.redirectTo !== undefined) {
    response.writeHead(307, { location: reply.redirectTo }).end()
    return
  }
  if (reply.error !== undefined) {
    const { retryAfterSeconds: after } = reply.error
    return json(
      response,
      reply.error.status,
      wire.error(reply.error),
      after === undefined ? {} : { "retry-after": String(after) },
    )
  }
  if (!wire.wantsStream(request)) return json(response, 200, wire.body(request, reply))

  response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" })
  if (reply.lineOfBytes !== undefined) return flood(response, reply.lineOfBytes, () => "x".repeat(64 * 1024))
  const events = wire.events(request, reply)
  if (reply.endlessBytes !== undefined) {
    const { endlessBytes } = reply
    const middle = events[Math.floor(events.length / 2)] ?? ""
    response.write(events.slice(0, Math.floor(events.length / 2)).join(""))
    return flood(response, endlessBytes, () => middle.repeat(Math.ceil(65_536 / Math.max(1, middle.length))))
  }
  if (reply.hang === "body") {
    response.write(events.slice(0, Math.ceil(events.length / 2)).join(""))
    return
  }
  if (reply.breakAfterEvents !== undefined) {
    response.write(events.slice(0, reply.breakAfterEvents).join(""), () => response.destroy())
    return
  }
  if (reply.wordDelayMs === undefined) {
    response.end(events.join(""))
    return
  }
  for (const event of events) {
    if (response.destroyed) return
    response.write(event)
    await sleep(reply.wordDelayMs)
  }
  response.end()
}

async function flood(response: ServerResponse, bytes: number, piece: () => string) {
  for (let sent = 0; sent < bytes && !response.destroyed; ) {
    const text = piece()
    sent += text.length
    if (!response.write(text)) {
      await new Promise<void>((resolve) => {
        const go = () => {
          response.off("drain", go).off("close", go)
          resolve()
        }
        response.on("drain", go).on("close", go)
      })
    }
  }
  response.end("\n\n")
}

function json(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}) {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body))
}

/** `"two words"` → `["two", " words"]` */
export function words(text: string): string[] {
  return text.match(/\s*\S+(?:\s+$)?/g) ?? (text === "" ? [] : [text])
}

export function argumentPieces(reply: Reply, given: unknown): string[] {
  const text = typeof given === "string" ? given : JSON.stringify(given)
  const size = reply.argumentPieces ?? text.length
  const pieces: string[] = []
  for (let i = 0; i < text.length; i += size) pieces.push(text.slice(i, i + size))
  return pieces
}

/** About four characters a token, as providers have it. */
export const tokens = (value: unknown) => Math.ceil((JSON.stringify(value) ?? "").length / 4)

export const outputTokens = (reply: Reply) =>
  tokens(`${reply.text ?? "OK"}${reply.thinking ?? ""}`) + tokens(reply.toolCalls ?? [])

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
