import { setTimeout as sleep } from "node:timers/promises"
import type { Clock } from "../lib/clock.ts"
import type { Logger } from "../lib/log.ts"

export interface NightlyOptions {
  clock: Clock
  log: Logger
  /** Hour of the day, UTC. */
  hour: number
  /** Tried again after an hour when it throws. */
  work: (signal: AbortSignal) => Promise<void>
  /** Replaced in tests. Rejects when the signal aborts. */
  wait?: (ms: number, signal: AbortSignal) => Promise<void>
}

const HOUR_MS = 60 * 60 * 1000
const DAY_MS = 24 * HOUR_MS
/** Soon after a start as well: a server that never runs at night would never do it. */
const FIRST_MS = 5 * 60 * 1000

/** Does a piece of work every night until it is disposed of, which waits for the work under way. */
export function startNightly({ clock, log, hour, work, wait = waitQuietly }: NightlyOptions): AsyncDisposable {
  const stop = new AbortController()
  const loop = async () => {
    for (let pause = FIRST_MS; ; ) {
      await wait(pause, stop.signal)
      stop.signal.throwIfAborted()
      try {
        await work(stop.signal)
        pause = untilHour(clock.now(), hour)
      } catch (error) {
        stop.signal.throwIfAborted()
        log.warn("the nightly check of installed skills failed", { error })
        pause = HOUR_MS
      }
    }
  }
  const running = loop().catch((error: unknown) => {
    if (!stop.signal.aborted) log.error("the nightly check of installed skills has ended", { error })
  })
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}

export function untilHour(now: number, hour: number): number {
  const today = Math.floor(now / DAY_MS) * DAY_MS + hour * HOUR_MS
  return today > now ? today - now : today + DAY_MS - now
}

const waitQuietly = (ms: number, signal: AbortSignal) => sleep(ms, undefined, { signal, ref: false })
