import type { FastifyReply, FastifyRequest } from "fastify"

/** Bytes that may wait for a reader; who lets more pile up is cut, and may come back with `Last-Event-ID`. */
const MAX_WAITING_BYTES = 1024 * 1024
/** Below this a replay may go on. */
const LOW_WATER_BYTES = 64 * 1024
const COMMENT_EVERY_MS = 15_000

export interface SseStream {
  /**
   * Sends an event; `data` is written as JSON. Events of one tick leave in one write. After the end it does nothing.
   * `id` null: an event that a reader cannot resume from.
   */
  send(id: number | string | null, event: string, data: unknown): void
  /** One line of data without name or id, as it is (the gateway's chunks). */
  line(data: string): void
  comment(): void
  /** Ends the stream once what was sent is on its way. */
  close(): void
  /** Resolves when the reader has taken most of what was sent, or the stream is over: await it between parts of a replay. */
  drained(): Promise<void>
  /** Aborts when the stream is over: the reader left, was cut for reading too slowly, its key died, or `close`. */
  readonly closed: AbortSignal
}

interface SseContext {
  request: FastifyRequest
  reply: FastifyReply
  /** Aborts when the client went away or its key died. */
  signal: AbortSignal
}

const open = new Set<SseStream>()
let commentTimer: NodeJS.Timeout | null = null

/** One timer for all streams: a thousand of their own would cost more than the comments. */
function keepAwake(stream: SseStream): void {
  open.add(stream)
  commentTimer ??= setInterval(() => {
    for (const each of open) each.comment()
  }, COMMENT_EVERY_MS).unref()
  stream.closed.addEventListener("abort", () => {
    open.delete(stream)
    if (open.size > 0 || commentTimer === null) return
    clearInterval(commentTimer)
    commentTimer = null
  })
}

/** Did the caller ask for events where others get one answer? */
export const asksForEvents = (request: FastifyRequest): boolean =>
  /\btext\/event-stream\b/.test(request.headers.accept ?? "")

/** Ends every stream: the server is stopping. */
export function closeAllSse(): void {
  for (const stream of [...open]) stream.close()
}

/** Answers with server-sent events; the headers go out at once. The handler returns `SENT` when it is done with it. */
export function openSse({ request, reply, signal }: SseContext): SseStream {
  reply.hijack()
  const response = reply.raw
  for (const [name, value] of Object.entries(reply.getHeaders()))
    if (value !== undefined) response.setHeader(name, value)
  response.writeHead(200, {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
  })
  response.flushHeaders()

  const over = new AbortController()
  let pending = ""
  let scheduled = false

  function flush(): void {
    scheduled = false
    const text = pending
    pending = ""
    if (text === "" || response.destroyed || response.writableEnded) return
    if (response.writableLength > MAX_WAITING_BYTES) response.destroy()
    else response.write(text)
  }
  function add(text: string): void {
    if (over.signal.aborted) return
    pending += text
    if (pending.length > LOW_WATER_BYTES) flush()
    else if (!scheduled) {
      scheduled = true
      setImmediate(flush)
    }
  }
  function end(): void {
    if (!over.signal.aborted) over.abort()
    flush()
    if (response.destroyed || response.writableEnded) return
    // A reader that is behind would hold a stream open that must be over.
    if (response.writableLength > LOW_WATER_BYTES && signal.aborted) response.destroy()
    else response.end()
  }

  const stream: SseStream = {
    send(id, event, data) {
      add(`${id === null ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
    },
    line(data) {
      add(`data: ${data}\n\n`)
    },
    comment() {
      add(":\n\n")
    },
    close: end,
    drained() {
      flush()
      return new Promise((resolve) => {
        if (over.signal.aborted || response.destroyed || response.writableLength <= LOW_WATER_BYTES) return resolve()
        const done = () => {
          response.off("drain", done)
          over.signal.removeEventListener("abort", done)
          resolve()
        }
        response.once("drain", done)
        over.signal.addEventListener("abort", done, { once: true })
      })
    },
    closed: over.signal,
  }
  response.once("close", () => {
    if (!over.signal.aborted) over.abort()
  })
  keepAwake(stream)
  if (signal.aborted || request.method === "HEAD") end()
  else signal.addEventListener("abort", end, { once: true })
  return stream
}
