/** What is looked at of one sandbox. */
export interface Busy {
  userId: string
  /** In how many periods of the scheduler (0.1 s) it wanted the processor, since it was opened. */
  periods(): number
}

/** Sends users behind everybody else who have kept the processor busy for long, and lets them come back when they rest. */
export interface StepBack extends Disposable {
  /** Until the function that is given back is called. */
  watch(busy: Busy): () => void
}

const LOOK_MS = 250
/** A command of a moment is over after a second, and has waited for nobody. */
const LOOKS_A_WINDOW = 4
/** Of the ten in a second. */
const BUSY_PERIODS = 9

export interface StepBackOptions {
  /** Behind all who are not behind themselves; false: beside them again. */
  step(userId: string, back: boolean): void
  lookMs?: number | undefined
}

/** Does nothing while nothing is open. */
export function createStepBack({ step, lookMs = LOOK_MS }: StepBackOptions): StepBack {
  /** How many periods each had had by the last looks. */
  const watched = new Map<Busy, number[]>()
  const back = new Set<string>()
  let timer: NodeJS.Timeout | null = null

  function look(): void {
    const hogs = new Set<string>()
    for (const [busy, seen] of watched) {
      seen.push(busy.periods())
      if (seen.length > LOOKS_A_WINDOW + 1) seen.shift()
      const [first = 0] = seen
      if (seen.length > LOOKS_A_WINDOW && (seen.at(-1) ?? 0) - first >= BUSY_PERIODS) hogs.add(busy.userId)
    }
    for (const userId of hogs.difference(back)) step(userId, true)
    for (const userId of back.difference(hogs)) step(userId, false)
    back.clear()
    for (const userId of hogs) back.add(userId)
  }

  return {
    watch(busy) {
      watched.set(busy, [busy.periods()])
      timer ??= setInterval(look, lookMs).unref()
      return () => {
        watched.delete(busy)
        if (watched.size > 0) return
        if (timer) clearInterval(timer)
        timer = null
        look()
      }
    },
    [Symbol.dispose]() {
      if (timer) clearInterval(timer)
      watched.clear()
    },
  }
}
