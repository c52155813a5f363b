import type { Readable } from "node:stream"
import type { FastifyReply } from "fastify"
import { createByteGate } from "../lib/byte-gate.ts"
import { AppError } from "../lib/errors.ts"
import type { Lifted } from "./lift.ts"

/** Larger bodies are received by turns, and read by a thread of their own. */
export const LARGE_BYTES = 1024 * 1024

/** Each can be had alone: the largest body has 20 MiB. */
export const LARGE_LIMITS = { bytesPerUser: 40 * LARGE_BYTES, bytesInAll: 256 * LARGE_BYTES }
const WAIT_MS = 120_000

/** What was taken out of a large body, and the hold on the memory that it takes. */
export interface LargeBody {
  /** By place. */
  lifted: ReadonlyMap<string, Lifted>
  /** Of the whole body as JSON, where the request has an `Idempotency-Key`. */
  sha256: string | null
  turn: Turn
}

/** The body counts until its request was answered, and for whoever uses it longer until then. */
export interface Turn {
  holdUntil(end: Promise<unknown>): void
  /** Gives it up, as soon as nobody else holds it. */
  end(): void
}

/**
 * Turns to have a large body in memory: while one waits, its client's bytes are left on the way. Throws 429 when the
 * wait is too long, 400 when the client is gone.
 */
export function createTurns(limits = LARGE_LIMITS, waitMs = WAIT_MS) {
  const gate = createByteGate(limits)
  return async function take(userId: string, bytes: number, client: Readable): Promise<Turn> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const leave = gate.enter(userId, bytes, resolve)
    const gone = () => reject(brokenOff())
    const late = setTimeout(
      () => reject(new AppError("concurrency_limit", "too many large requests at once", { retryAfterSeconds: 10 })),
      waitMs,
    )
    client.once("close", gone)
    if (client.destroyed) gone()
    try {
      await promise
    } catch (error) {
      leave()
      throw error
    } finally {
      clearTimeout(late)
      client.off("close", gone)
    }
    let holders = 1
    const end = () => {
      if (--holders === 0) leave()
    }
    return {
      end,
      holdUntil(until) {
        holders++
        void until.then(end, end)
      },
    }
  }
}

/** All large bodies together are received so fast at most, in slices: each costs the main thread less than a millisecond. */
export const SLICE_BYTES = 256 * 1024
const BYTES_PER_MS = 32 * 1024

/** Gives how many milliseconds to wait after having received so many bytes; others who receive count too. */
export function createPace(): (bytes: number) => number {
  let freeMs = 0
  return (bytes) => {
    const nowMs = performance.now()
    freeMs = Math.max(nowMs, freeMs) + bytes / BYTES_PER_MS
    return freeMs - nowMs
  }
}

export const brokenOff = (): AppError => new AppError("invalid_request", "the request is not valid")

/** The request is being answered: its body's turn ends with that. */
export function endWithAnswer({ turn }: LargeBody, { raw }: FastifyReply): void {
  if (raw.closed) turn.end()
  else raw.once("close", turn.end)
}
