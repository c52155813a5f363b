import { setTimeout as pause } from "node:timers/promises"
import type { LiveRun } from "./live-run.ts"
import { RunGone, SessionBusy } from "./run-store.ts"

/** How often a run looks whether the one before it, on another server, has ended. */
const LOOK_EVERY_MS = 100

/** The sessions' queues of this server: one run at a time in each, in the order in which they came. */
export interface Lanes {
  isBusy(sessionId: string): boolean
  /** Calls `begin` when every run before it in the session has ended; at once where there is none, or no session. */
  enter(run: LiveRun, begin: () => Promise<void>): void
  /** Tries until the database gives the turn (a run of another server may be before it); null once the run has ended. */
  untilFree<T>(ended: Promise<unknown>, attempt: () => Promise<T>): Promise<T | null>
}

export function createLanes(): Lanes {
  const lanes = new Map<string, { run: LiveRun; begin: () => Promise<void> }[]>()

  function next(sessionId: string, lane: { run: LiveRun; begin: () => Promise<void> }[]): void {
    const first = lane[0]
    if (first === undefined) lanes.delete(sessionId)
    else void first.begin()
  }

  return {
    isBusy: (sessionId) => lanes.has(sessionId),
    enter(run, begin) {
      if (run.session === null) {
        void begin()
        return
      }
      const sessionId = run.session.id
      const lane = lanes.get(sessionId) ?? []
      lanes.set(sessionId, lane)
      lane.push({ run, begin })
      void run.ended.then(() => {
        const place = lane.findIndex((entry) => entry.run === run)
        lane.splice(place, 1)
        if (place === 0) next(sessionId, lane)
      })
      if (lane.length === 1) void begin()
    },
    async untilFree(ended, attempt) {
      let over = false
      void ended.then(() => {
        over = true
      })
      for (;;) {
        if (over) return null
        try {
          return await attempt()
        } catch (error) {
          if (error instanceof RunGone) return null
          if (!(error instanceof SessionBusy)) throw error
          await pause(LOOK_EVERY_MS)
        }
      }
    },
  }
}
