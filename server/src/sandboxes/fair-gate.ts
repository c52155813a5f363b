/** So many at once in all and for each user; who waits is let in by turns of the users, so that none crowds out another. */
export interface FairGate {
  /** Resolves with what gives the place back (idempotent). Rejects with the signal's reason. */
  enter(userId: string, signal: AbortSignal): Promise<() => void>
  readonly waiting: number
  /** Whether somebody would be let in if this user gave a place back. */
  wouldAdmit(userId: string): boolean
}

export interface FairGateOptions {
  total: number
  perUser: number
  /** Somebody has to wait: for one of the user's own places, or for any. */
  onBlocked?: (userId: string, by: "user" | "total") => void
}

interface Waiter {
  admit(): void
}

export function createFairGate({ total, perUser, onBlocked }: FairGateOptions): FairGate {
  const inside = new Map<string, number>()
  /** In the order of turns: whoever was let in goes to the end. */
  const queues = new Map<string, Waiter[]>()
  let count = 0
  let waiting = 0

  const blockedBy = (userId: string) =>
    (inside.get(userId) ?? 0) >= perUser ? "user" : count >= total ? "total" : null

  function take(userId: string): () => void {
    count++
    inside.set(userId, (inside.get(userId) ?? 0) + 1)
    let given = false
    return () => {
      if (given) return
      given = true
      count--
      const left = (inside.get(userId) ?? 1) - 1
      if (left === 0) inside.delete(userId)
      else inside.set(userId, left)
      letIn()
    }
  }

  function letIn(): void {
    for (let admitted = true; admitted; ) {
      admitted = false
      for (const [userId, queue] of queues) {
        if (blockedBy(userId) !== null) continue
        queues.delete(userId)
        const next = queue.shift()
        if (queue.length > 0) queues.set(userId, queue)
        next?.admit()
        admitted = next !== undefined
        break
      }
    }
  }

  return {
    wouldAdmit: (userId) =>
      [...queues.keys()].some((waiting) => waiting === userId || (inside.get(waiting) ?? 0) < perUser),
    get waiting() {
      return waiting
    },
    async enter(userId, signal) {
      signal.throwIfAborted()
      const by = blockedBy(userId)
      if (by === null && !queues.has(userId)) return take(userId)
      const { promise, resolve, reject } = Promise.withResolvers<() => void>()
      const waiter: Waiter = { admit: () => resolve(take(userId)) }
      const queue = queues.get(userId) ?? []
      queue.push(waiter)
      queues.set(userId, queue)
      const leave = () => {
        const place = queue.indexOf(waiter)
        if (place >= 0) queue.splice(place, 1)
        if (queue.length === 0 && queues.get(userId) === queue) queues.delete(userId)
        reject(signal.reason)
      }
      signal.addEventListener("abort", leave, { once: true })
      waiting++
      try {
        onBlocked?.(userId, by ?? "total")
        return await promise
      } finally {
        waiting--
        signal.removeEventListener("abort", leave)
      }
    },
  }
}
