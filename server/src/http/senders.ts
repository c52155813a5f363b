import { AppError } from "../lib/errors.ts"

/** How slowly a body may come, on average after a grace. Only the time counts in which the server waits for its bytes. */
export interface LeastRate {
  graceMs: number
  bytesPerMs: number
}

/** The largest body has 20 MiB, which at this rate come within the two minutes that others wait for their turn. */
export const LARGE_RATE: LeastRate = { graceMs: 10_000, bytesPerMs: 192 }
/** Of all others. A MiB comes within the five minutes of a whole request, which ask for more of a large file. */
export const SMALL_RATE: LeastRate = { graceMs: 30_000, bytesPerMs: 4 }

/** One body on its way. */
export interface Sender {
  came(bytes: number): void
  /**
   * `slow` is called with 408 if too little comes; what passes while not `isWaiting` does not count. The function given
   * back ends the waiting, which may begin again.
   */
  wait(slow: (error: AppError) => void, isWaiting?: () => boolean): () => void
}

/** Who sends bodies, looked at all together: most have come whole before the first look. */
export interface Senders {
  sender(rate: LeastRate): Sender
  /** So much time has passed since the last look. */
  look(passedMs: number): void
}

export function createSenders(): Senders {
  const waiting = new Set<(passedMs: number) => void>()
  return {
    sender({ graceMs, bytesPerMs }) {
      let dueMs = graceMs
      let waitedMs = 0
      return {
        came(bytes) {
          dueMs += bytes / bytesPerMs
        },
        wait(slow, isWaiting) {
          const look = (passedMs: number) => {
            if (isWaiting?.() === false) return
            waitedMs += passedMs
            if (waitedMs > dueMs) slow(new AppError("request_timeout", "the request came too slowly"))
          }
          waiting.add(look)
          return () => waiting.delete(look)
        },
      }
    },
    look(passedMs) {
      for (const one of [...waiting]) one(passedMs)
    },
  }
}
