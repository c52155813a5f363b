import { isIP, type LookupFunction } from "node:net"
import type { Dispatcher } from "undici"

type Resolve = (hostname: string, options: { signal?: AbortSignal }) => Promise<{ address: string; family: 4 | 6 }>

export interface GuardedFetchOptions {
  /**
   * `public`: for an address that a tenant gave: https only, judged at each connection, and the connection goes to the
   * very address that was judged. `any`: for an address that the operator gave.
   */
  reach: "public" | "any"
  /** From the request to the answer's headers. */
  headersTimeoutMs: number
  /** The longest silence within the answer's body. */
  idleTimeoutMs: number
  maxLineBytes?: number
  maxBodyBytes?: number
  /** Beyond the first 256 KiB a body is taken no faster than this; no limit unless given. */
  bytesPerSecond?: number
  /** Looks at each piece of a body after the bounds were checked; may hold pieces back and send them later. */
  filter?: (contentType: string) => ChunkFilter | null
  /** Told of each failure, because clients like to replace its text by "Connection error". */
  onFailure?: (error: GuardedFetchError) => void
  /** Replaces the judge; for tests that play a public host on loopback. Plain http is then allowed as well. */
  resolve?: Resolve
}

export interface ChunkFilter {
  push(chunk: Uint8Array): Uint8Array[]
  end(): Uint8Array[]
}

export class GuardedFetchError extends Error {
  override readonly name = "GuardedFetchError"
  readonly kind: "refused" | "timeout" | "too_large" | "network"
  constructor(kind: GuardedFetchError["kind"], message: string, cause?: unknown) {
    super(message, { cause })
    this.kind = kind
  }
}

const MIB = 1024 * 1024
const BURST_BYTES = 256 * 1024
/** A body is handed on in pieces of this size with the event loop between them, so that a flood cannot hold it. */
const PIECE_BYTES = 8 * 1024

/** A `fetch` with bounds: no redirects, no endless line or answer, no endless wait. Errors: `GuardedFetchError`. */
export function createGuardedFetch(options: GuardedFetchOptions): typeof globalThis.fetch {
  const maxBodyBytes = options.maxBodyBytes ?? 32 * MIB
  const fail = (error: GuardedFetchError) => {
    options.onFailure?.(error)
    return error
  }

  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input)
    try {
      if (options.reach === "public") await judge(url, options.resolve)
    } catch (error) {
      throw fail(new GuardedFetchError("refused", error instanceof Error ? error.message : "refused", error))
    }
    const { fetch } = await import("undici")
    const expired = new AbortController()
    const given = init?.signal ?? (input instanceof Request ? input.signal : null)
    const timer = setTimeout(
      () =>
        expired.abort(fail(new GuardedFetchError("timeout", `no answer within ${seconds(options.headersTimeoutMs)}`))),
      options.headersTimeoutMs,
    )
    try {
      const response = await fetch(url, {
        method: init?.method ?? (input instanceof Request ? input.method : "GET"),
        headers: headerList(init?.headers ?? (input instanceof Request ? input.headers : undefined)),
        body: typeof init?.body === "string" || init?.body instanceof Uint8Array ? init.body : null,
        redirect: "manual",
        signal: given ? AbortSignal.any([given, expired.signal]) : expired.signal,
        dispatcher: await dispatcher(options),
      })
      if (response.status >= 300 && response.status < 400) {
        void response.body?.cancel()
        throw new GuardedFetchError("refused", `answered with a redirect (${response.status}), which is not followed`)
      }
      const length = Number(response.headers.get("content-length") ?? 0)
      if (length > maxBodyBytes) {
        void response.body?.cancel()
        throw new GuardedFetchError("too_large", `an answer of ${length} bytes is over the limit of ${maxBodyBytes}`)
      }
      const headers = new Headers([...response.headers])
      // Decompressed on the way, or changed by the filter: then it has another length than was sent.
      if (headers.has("content-encoding") || options.filter !== undefined) headers.delete("content-length")
      headers.delete("content-encoding")
      const body =
        response.body === null || response.status === 204
          ? null
          : bounded(response.body, expired, { ...options, maxBodyBytes }, headers.get("content-type") ?? "", fail)
      return new Response(body, { status: response.status, statusText: response.statusText, headers })
    } catch (error) {
      if (error instanceof GuardedFetchError) throw error === expired.signal.reason ? error : fail(error)
      if (given?.aborted) throw error
      throw fail(new GuardedFetchError("network", networkReason(error), error))
    } finally {
      clearTimeout(timer)
    }
  }
}

async function judge(url: URL, resolve: Resolve | undefined): Promise<void> {
  if (url.protocol !== "https:" && !(resolve !== undefined && url.protocol === "http:")) {
    throw new Error("the base URL must start with https://")
  }
  if (url.username !== "" || url.password !== "") throw new Error("the base URL must not hold a user name")
  // A name is judged when it is connected to; an address has no look-up and is judged here.
  const bare = url.hostname.replace(/^\[|\]$/g, "")
  if (isIP(bare)) await (resolve ?? (await import("./address.ts")).resolvePublic)(url.hostname, {})
}

const dispatchers = new Map<Resolve | "any" | "public", Promise<Dispatcher>>()

function dispatcher({ reach, resolve }: GuardedFetchOptions): Promise<Dispatcher> {
  const key = reach === "any" ? "any" : (resolve ?? "public")
  let made = dispatchers.get(key)
  if (made === undefined) {
    made = makeDispatcher(reach, resolve)
    dispatchers.set(key, made)
  }
  return made
}

async function makeDispatcher(reach: "public" | "any", resolve: Resolve | undefined): Promise<Dispatcher> {
  const { Agent } = await import("undici")
  // Times are kept here in `createGuardedFetch`; the agent's own would be a second, coarser clock.
  const common = { headersTimeout: 0, bodyTimeout: 0 }
  if (reach === "any") return new Agent({ ...common, connect: { timeout: 10_000 } })
  const judged = resolve ?? (await import("./address.ts")).resolvePublic
  const lookup: LookupFunction = (hostname, lookupOptions, callback) => {
    judged(hostname, { signal: AbortSignal.timeout(10_000) }).then(
      ({ address, family }) =>
        lookupOptions.all ? callback(null, [{ address, family }]) : callback(null, address, family),
      (error: unknown) => callback(error instanceof Error ? error : new Error(String(error)), "", 0),
    )
  }
  return new Agent({ ...common, connect: { timeout: 10_000, lookup } })
}

type Bounds = GuardedFetchOptions & { maxBodyBytes: number }

function bounded(
  body: ReadableStream<Uint8Array>,
  expired: AbortController,
  options: Bounds,
  contentType: string,
  fail: (error: GuardedFetchError) => GuardedFetchError,
): ReadableStream<Uint8Array> {
  const maxLineBytes = options.maxLineBytes ?? MIB
  const filter = options.filter?.(contentType) ?? null
  const reader = body.getReader()
  let total = 0
  let line = 0
  const timer = setTimeout(
    () => expired.abort(fail(new GuardedFetchError("timeout", `silent for ${seconds(options.idleTimeoutMs)}`))),
    options.idleTimeoutMs,
  )
  const stop = (error: GuardedFetchError) => {
    clearTimeout(timer)
    expired.abort(error)
    return fail(error)
  }
  const started = performance.now()
  let rest: Uint8Array | null = null
  /** The next piece; null at the end. */
  async function next(): Promise<Uint8Array | null> {
    if (rest !== null) await new Promise((resolve) => setImmediate(resolve))
    let chunk = rest
    if (chunk === null) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        clearTimeout(timer)
        if (expired.signal.reason instanceof GuardedFetchError) throw expired.signal.reason
        throw error
      })
      timer.refresh()
      if (done) return null
      chunk = value
    }
    const piece = chunk.subarray(0, PIECE_BYTES)
    rest = chunk.byteLength > PIECE_BYTES ? chunk.subarray(PIECE_BYTES) : null
    check(piece)
    await pace()
    return piece
  }
  async function pace() {
    if (options.bytesPerSecond === undefined || total <= BURST_BYTES) return
    const early = ((total - BURST_BYTES) / options.bytesPerSecond) * 1000 - (performance.now() - started)
    if (early < 5) return
    await new Promise((resolve) => setTimeout(resolve, early))
    timer.refresh()
  }
  const check = (chunk: Uint8Array) => {
    total += chunk.byteLength
    if (total > options.maxBodyBytes) {
      throw stop(new GuardedFetchError("too_large", `the answer is over the limit of ${options.maxBodyBytes} bytes`))
    }
    const first = chunk.indexOf(10)
    const longest = first === -1 ? line + chunk.byteLength : line + first
    if (longest > maxLineBytes) {
      throw stop(new GuardedFetchError("too_large", `a line of the answer is over the limit of ${maxLineBytes} bytes`))
    }
    // A line that begins and ends inside one piece is shorter than the piece.
    line = first === -1 ? longest : chunk.byteLength - 1 - chunk.lastIndexOf(10)
  }

  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      let sent = false
      while (!sent) {
        const piece = await next()
        const pieces = filtered(filter, piece, stop)
        for (const piece of pieces) controller.enqueue(piece)
        sent = pieces.length > 0
        if (piece === null) {
          clearTimeout(timer)
          controller.close()
          return
        }
      }
    },
    async cancel(reason) {
      clearTimeout(timer)
      expired.abort()
      await reader.cancel(reason).catch(() => {})
    },
  })
}

function filtered(
  filter: ChunkFilter | null,
  chunk: Uint8Array | null,
  stop: (error: GuardedFetchError) => GuardedFetchError,
): Uint8Array[] {
  if (filter === null) return chunk === null ? [] : [chunk]
  try {
    return chunk === null ? filter.end() : filter.push(chunk)
  } catch (error) {
    throw error instanceof GuardedFetchError ? stop(error) : error
  }
}

function headerList(headers: ConstructorParameters<typeof Headers>[0]): [string, string][] {
  return [...new Headers(headers)]
}

/** Why a connection failed, from the innermost cause: `connect ECONNREFUSED 127.0.0.1:9`. */
function networkReason(error: unknown): string {
  let reason = "the connection failed"
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (cause.message !== "" && cause.message !== "fetch failed") reason = cause.message
  }
  return reason
}

const seconds = (ms: number) => `${Math.round(ms / 100) / 10} s`
