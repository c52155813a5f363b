/**
 * Bounds the bytes alive at once, for each user and in all, so that no tenant can fill the memory: who comes beyond
 * waits. First come, first served, but a user who waits for himself holds up nobody else.
 */
export interface ByteGate {
  /** Calls `admit` at once or when there is room. The function given back takes it out, waiting or admitted. */
  enter(userId: string, bytes: number, admit: () => void): () => void
}

export interface ByteLimits {
  bytesPerUser: number
  bytesInAll: number
}

export function createByteGate(limits: ByteLimits): ByteGate {
  const byUser = new Map<string, number>()
  let inAll = 0
  let waiting: { userId: string; bytes: number; admit: () => void }[] = []

  // What is too large for a limit by itself is admitted when it is alone; its size was bounded at the edge.
  const fits = (userId: string, bytes: number) => {
    const own = byUser.get(userId) ?? 0
    return (own === 0 || own + bytes <= limits.bytesPerUser) && (inAll === 0 || inAll + bytes <= limits.bytesInAll)
  }
  const add = (userId: string, bytes: number) => {
    const own = (byUser.get(userId) ?? 0) + bytes
    if (own === 0) byUser.delete(userId)
    else byUser.set(userId, own)
    inAll += bytes
  }
  const admitWaiting = () => {
    const blocked = new Set<string>()
    const rest: typeof waiting = []
    for (const entry of waiting) {
      if (!blocked.has(entry.userId) && fits(entry.userId, entry.bytes)) {
        add(entry.userId, entry.bytes)
        entry.admit()
      } else {
        blocked.add(entry.userId)
        rest.push(entry)
      }
    }
    waiting = rest
  }

  return {
    enter(userId, bytes, admit) {
      let state: "waiting" | "admitted" | "gone" = "waiting"
      const entry = {
        userId,
        bytes,
        admit: () => {
          state = "admitted"
          admit()
        },
      }
      waiting.push(entry)
      admitWaiting()
      return () => {
        if (state === "waiting") waiting = waiting.filter((other) => other !== entry)
        if (state === "admitted") add(userId, -bytes)
        state = "gone"
        admitWaiting()
      }
    },
  }
}
