import type { CallOptions, Row, UploadOptions } from "./calls.ts"
import { ApiError, ConnectionError } from "./errors.ts"
import { type Client, TABLE } from "./table.ts"

export interface ClientOptions {
  /** Scheme, host and port of the server; "" in a page that the server itself gave out. */
  baseUrl: string
  /** Left out in the dashboard, whose cookie counts as its key. */
  apiKey?: string
  fetch?: typeof fetch
  /** Waits before another attempt. */
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>
  /** Told of every error that an answer bears. */
  onError?: (error: ApiError) => void
}

/** How often a request that changes nothing, or was turned away before it did, is sent again. */
const RETRIES = 3
const LONGEST_WAIT_MS = 20_000

/** A client with one method for each endpoint: `client.agents.create({ user: "ada" }, { name: "manager" })`. */
export function createClient(options: ClientOptions): Client {
  const send = sender(options)
  const groups = Object.entries(TABLE).map(([group, rows]) => {
    const methods = Object.entries(rows).map(([name, row]) => [name, method(row, send)])
    return [group, Object.fromEntries(methods)]
  })
  // Table and type are made together from the contract.
  return Object.fromEntries(groups) as unknown as Client
}

type Send = (row: Row, input: Record<string, unknown>, body: unknown, options: UploadOptions) => Promise<Response>

function method(row: Row, send: Send) {
  return async (input: Record<string, unknown>, ...rest: unknown[]): Promise<unknown> => {
    const body = row.sends === "none" ? undefined : rest[0]
    const options = (row.sends === "none" ? rest[0] : rest[1]) as CallOptions | undefined
    const response = await send(row, input, body, options ?? {})
    if (row.answers === "bytes" && row.sends === "none") return response
    const type = response.headers.get("content-type") ?? ""
    if (row.answers === "sse" || type.startsWith("text/event-stream")) return response
    return response.status === 204 ? undefined : await response.json()
  }
}

function sender({ baseUrl, apiKey, fetch: given, sleep = wait, onError }: ClientOptions): Send {
  const call = given ?? ((input, init) => fetch(input, init))
  return async (row, input, body, options) => {
    const url = baseUrl + urlOf(row, input)
    const headers: Record<string, string> = { ...options.headers }
    if (apiKey !== undefined) headers["X-API-Key"] = apiKey
    if (options.idempotencyKey !== undefined) headers["Idempotency-Key"] = options.idempotencyKey
    if (row.answers === "sse") headers.Accept ??= "text/event-stream"
    const init: RequestInit = { method: row.method, headers }
    if (options.signal) init.signal = options.signal
    if (row.sends === "json" && body !== undefined) {
      headers["Content-Type"] = "application/json"
      init.body = JSON.stringify(body)
    } else if (row.sends === "raw") {
      headers["Content-Type"] = options.contentType ?? "application/octet-stream"
      init.body = body as Blob | string
    }
    for (let attempt = 0; ; attempt++) {
      const outcome = await once(call, url, init, options.signal)
      if (outcome instanceof Response) return outcome
      const delay = attempt < RETRIES ? delayBefore(row, outcome, attempt) : null
      if (delay === null) {
        if (outcome instanceof ApiError) onError?.(outcome)
        throw outcome
      }
      await sleep(delay, options.signal)
    }
  }
}

async function once(call: typeof fetch, url: string, init: RequestInit, signal: AbortSignal | undefined) {
  let response: Response
  try {
    response = await call(url, init)
  } catch (cause) {
    if (signal?.aborted) throw cause
    return new ConnectionError(cause)
  }
  if (response.ok || response.status === 304) return response
  const body: unknown = await response.json().catch(() => ({}))
  return new ApiError(response.status, isRecord(body) ? body : {}, response.headers)
}

/** Milliseconds until another attempt; null when sending again would be wrong or useless. */
function delayBefore(row: Row, error: ApiError | ConnectionError, attempt: number): number | null {
  if (error instanceof ConnectionError) return row.method === "GET" ? 200 * 2 ** attempt : null
  if (error.status === 429 && error.code === "rate_limited") {
    const ms = (error.retryAfterSeconds ?? 1) * 1000
    return ms <= LONGEST_WAIT_MS ? ms : null
  }
  const passing = error.status === 502 || error.status === 503 || error.status === 504
  return passing && row.method === "GET" ? 300 * 2 ** attempt : null
}

function urlOf(row: Row, input: Record<string, unknown>): string {
  const query = new URLSearchParams()
  const left = new Map(Object.entries(input))
  const path = row.path.replace(/\{(\w+)(\*?)\}/g, (_, name: string, rest: string) => {
    const value = String(left.get(name) ?? "")
    left.delete(name)
    return rest ? value.split("/").map(encodeURIComponent).join("/") : encodeURIComponent(value)
  })
  for (const [name, value] of left) if (value !== undefined && value !== null) query.set(name, String(value))
  const search = query.toString()
  return (row.versioned ? "/api/v1" : "") + path + (search ? `?${search}` : "")
}

export function wait(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const stop = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop)
      resolve()
    }, ms)
    signal?.addEventListener("abort", stop, { once: true })
  })
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
