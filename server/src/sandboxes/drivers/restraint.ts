/** What is looked at of one sandbox. */
export interface Restrained {
  /** How many of its processes were killed for memory since it was opened, if it ran into its own limit. */
  kills(): number
  /** With little of the processor from now on; or with all of its own again. */
  restrain(on: boolean): void
}

/**
 * Takes processor time from whoever runs into the memory limit again and again. Filling memory and having it taken away
 * is work of the kernel's, which holds up everybody however far behind it stands.
 */
export interface Restraint extends Disposable {
  /** Until the function that is given back is called. */
  watch(one: Restrained): () => void
}

/** What is left of the processor to who is restrained. */
export const RESTRAINED_CPUS = 0.1

const LOOK_MS = 1000
/** So many kills within so many looks are no mishap. */
const TOO_MANY_KILLS = 2
const WINDOW_LOOKS = 10
/** It ends when none was killed for so long. */
const REST_LOOKS = 30

interface Seen {
  kills: number
  /** Kills by look, the last ones. */
  recent: number[]
  /** Looks until it ends; 0: not restrained. */
  rest: number
}

/** Does nothing while nothing is open. */
export function createRestraint(lookMs: number = LOOK_MS): Restraint {
  const watched = new Map<Restrained, Seen>()
  let timer: NodeJS.Timeout | null = null

  function look(one: Restrained, seen: Seen): void {
    const kills = one.kills()
    const fresh = kills - seen.kills
    seen.kills = kills
    seen.recent.push(fresh)
    if (seen.recent.length > WINDOW_LOOKS) seen.recent.shift()
    const isMany = seen.recent.reduce((sum, count) => sum + count, 0) >= TOO_MANY_KILLS
    if (fresh > 0 && (isMany || seen.rest > 0)) {
      if (seen.rest === 0) one.restrain(true)
      seen.rest = REST_LOOKS
    } else if (seen.rest > 0 && --seen.rest === 0) one.restrain(false)
  }

  function end(): void {
    if (timer) clearInterval(timer)
    timer = null
  }

  return {
    watch(one) {
      watched.set(one, { kills: one.kills(), recent: [], rest: 0 })
      timer ??= setInterval(() => {
        for (const [one, seen] of watched) look(one, seen)
      }, lookMs).unref()
      return () => {
        watched.delete(one)
        if (watched.size === 0) end()
      }
    },
    [Symbol.dispose]() {
      end()
      watched.clear()
    },
  }
}
