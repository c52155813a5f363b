import type { z } from "zod"
import { AppError, messageOf } from "../lib/errors.ts"
import { createGuardedFetch, GuardedFetchError } from "../lib/guarded-fetch.ts"
import { Discovery } from "./registry-answers.ts"

export const DEFAULT_REGISTRY = "https://clawhub.ai"

export interface RegistryHttpOptions {
  /** What the operator set, or the default. */
  url: string
  /** Waits between tries; a test hands in one that does not. */
  wait: (ms: number, signal: AbortSignal) => Promise<void>
  now: () => number
  /** For all that one call of the API asks the registry. */
  budgetMs: number
}

/** An answer of the registry that is neither an error of ours nor worth another try. */
export interface RegistryAnswer {
  status: number
  contentType: string
  /** Of the body in bytes, where that was said. */
  length: number | null
  body: ReadableStream<Uint8Array> | null
}

export interface RegistryHttp {
  /** One deadline for a whole piece of work, also cut by `signal`. */
  deadline(signal: AbortSignal): AbortSignal
  /** `path` below the API's base, e.g. `/search?q=x`. Throws 424 when there is no answer to work with. */
  request(path: string, init: { body?: unknown }, deadline: AbortSignal): Promise<RegistryAnswer>
  json<T extends z.ZodType>(answer: RegistryAnswer, schema: T, deadline: AbortSignal): Promise<z.output<T>>
}

const MIB = 1024 * 1024
const MAX_JSON_BYTES = 4 * MIB
const MAX_BODY_BYTES = 32 * MIB
const TRIES = 4
const FIRST_WAIT_MS = 1000
const LONGEST_WAIT_MS = 10_000
const DISCOVERY_MS = 60 * 60 * 1000

export const registryFailed = (why: string, cause?: unknown, retryAfterSeconds?: number): AppError =>
  new AppError("failed_dependency", `the skill registry ${why}`, {
    cause,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  })

/** Requests to a ClawHub registry: found by discovery, bounded in size and time, patient with 429 and 503. */
export function registryHttp({ url, wait, now, budgetMs }: RegistryHttpOptions): RegistryHttp {
  const bounds = {
    headersTimeoutMs: budgetMs,
    idleTimeoutMs: budgetMs,
    maxBodyBytes: MAX_BODY_BYTES,
    // Archives have no lines.
    maxLineBytes: MAX_BODY_BYTES,
  }
  const home = new URL(url)
  const fetchPublic = createGuardedFetch({ ...bounds, reach: "public" })
  // An operator may run a registry of their own anywhere; what that one points to is judged like a stranger's address.
  const fetchHome = url === DEFAULT_REGISTRY ? fetchPublic : createGuardedFetch({ ...bounds, reach: "any" })
  const isHome = (target: URL) => target.origin === home.origin || (isLoopback(target) && isLoopback(home))
  let found: { base: string; at: number } | null = null

  const send = async (target: URL, init: { body?: unknown }, deadline: AbortSignal): Promise<Response> => {
    const fetch = isHome(target) ? fetchHome : fetchPublic
    const sent = init.body === undefined ? {} : { method: "POST", body: JSON.stringify(init.body) }
    try {
      return await fetch(target, {
        ...sent,
        headers: {
          "user-agent": "autonomis",
          ...(init.body === undefined ? {} : { "content-type": "application/json" }),
        },
        signal: deadline,
      })
    } catch (error) {
      throw failure(error, deadline)
    }
  }

  const patiently = async (target: URL, init: { body?: unknown }, deadline: AbortSignal): Promise<Response> => {
    for (let attempt = 1; ; attempt++) {
      const response = await send(target, init, deadline)
      if (response.status !== 429 && response.status < 500) return response
      await response.body?.cancel().catch(() => {})
      if (response.status !== 429 && response.status !== 503) throw registryFailed(`failed (HTTP ${response.status})`)
      const waitMs = askedPause(response.headers, now()) ?? FIRST_WAIT_MS * 2 ** (attempt - 1)
      const busy = response.status === 429 ? "limits how often it may be asked" : "is not available"
      if (attempt === TRIES || waitMs > LONGEST_WAIT_MS)
        throw registryFailed(`${busy}; try again later`, undefined, Math.ceil(waitMs / 1000))
      try {
        await wait(waitMs, deadline)
      } catch (error) {
        throw failure(error, deadline)
      }
    }
  }

  /** Where the API is. A registry without a word about it is its own. */
  const base = async (deadline: AbortSignal): Promise<string> => {
    if (found !== null && now() - found.at < DISCOVERY_MS) return found.base
    const response = await patiently(new URL("/.well-known/clawhub.json", home), {}, deadline)
    const own = url.replace(/\/+$/, "")
    let named: string | null = null
    if (response.ok) {
      const parsed = Discovery.safeParse(await readJson(response.body, deadline).catch(() => null))
      named = parsed.success ? (parsed.data.apiBase ?? parsed.data.registry ?? null) : null
    } else await response.body?.cancel().catch(() => {})
    const target = named === null ? null : URL.parse(named)
    if (target !== null && !isHome(target) && target.protocol !== "https:")
      throw registryFailed("names an API address that is not https")
    const chosen = target === null ? own : `${target.origin}${target.pathname.replace(/\/+$/, "")}`
    found = { base: chosen, at: now() }
    return chosen
  }

  return {
    deadline: (signal) => AbortSignal.any([signal, AbortSignal.timeout(budgetMs)]),

    async request(path, init, deadline) {
      const response = await patiently(new URL(`${await base(deadline)}/api/v1${path}`), init, deadline)
      return {
        status: response.status,
        contentType: (response.headers.get("content-type") ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "",
        length: lengthOf(response.headers),
        body: response.body,
      }
    },

    async json(answer, schema, deadline) {
      const input = await readJson(answer.body, deadline)
      const parsed = schema.safeParse(input)
      if (parsed.success) return parsed.data
      throw registryFailed("answered in a form that is not known", parsed.error)
    },
  }
}

function lengthOf(headers: Headers): number | null {
  const text = headers.get("content-length")
  return text !== null && /^\d{1,12}$/.test(text) ? Number(text) : null
}

/** One machine under several names. */
const isLoopback = ({ hostname }: URL) => /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)

async function readJson(body: ReadableStream<Uint8Array> | null, deadline: AbortSignal): Promise<unknown> {
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of body ?? []) {
      size += chunk.byteLength
      if (size > MAX_JSON_BYTES) throw registryFailed("sent too much")
      chunks.push(chunk)
    }
    return JSON.parse(Buffer.concat(chunks).toString())
  } catch (error) {
    if (error instanceof SyntaxError) throw registryFailed("did not answer in JSON", error)
    throw failure(error, deadline)
  }
}

/** How long a 429 or 503 asks to wait; null when it does not say. */
function askedPause(headers: Headers, now: number): number | null {
  const after = headers.get("retry-after")
  if (after !== null && /^\d{1,6}$/.test(after)) return Number(after) * 1000
  const date = after === null ? Number.NaN : Date.parse(after)
  return Number.isNaN(date) ? null : Math.max(0, date - now)
}

/** What to tell the caller when the registry did not come through. */
export function failure(error: unknown, deadline: AbortSignal): unknown {
  if (error instanceof AppError) return error
  if (deadline.aborted && deadline.reason instanceof DOMException && deadline.reason.name === "TimeoutError")
    return registryFailed("did not answer in time", error)
  if (deadline.aborted) return deadline.reason
  if (error instanceof GuardedFetchError)
    return error.kind === "too_large"
      ? registryFailed("sent too much", error)
      : registryFailed(`cannot be reached: ${error.message}`, error)
  return registryFailed(`cannot be reached: ${messageOf(error)}`, error)
}
