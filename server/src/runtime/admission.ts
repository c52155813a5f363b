import type { RunSpec } from "./protocol.ts"

/**
 * Bounds the histories and images alive in one worker, for each user and in all, so that no tenant can fill its
 * memory: a run beyond waits its turn. First come, first served, but a user who waits for himself holds up nobody else.
 */
export interface Admission {
  /** Calls `admit` at once or when there is room. The function given back takes the run out, waiting or admitted. */
  enter(userId: string, bytes: number, admit: () => void): () => void
}

export interface AdmissionLimits {
  bytesPerUser: number
  bytesInAll: number
}

export function createAdmission(limits: AdmissionLimits): Admission {
  const byUser = new Map<string, number>()
  let inAll = 0
  let waiting: { userId: string; bytes: number; admit: () => void }[] = []

  // A run that is too large for a limit by itself is admitted when it is alone; its size was bounded at the edge.
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

function lengthOf(given: Record<string, unknown>): number {
  let length = 256
  for (const value of Object.values(given)) length += typeof value === "string" ? value.length : 1024
  return length
}

/** What a run's prompt and history weigh, in characters (nearly all of them one byte). */
export function weigh(spec: RunSpec): number {
  const { prompt } = spec
  let bytes = 4096 + prompt.soul.length + prompt.user.length + prompt.tools.length + prompt.memory.length
  for (const { message } of spec.history) {
    if (message.role === "summary") {
      bytes += message.text.length
      continue
    }
    for (const part of message.content) {
      if (part.type === "image") bytes += part.data?.length ?? 0
      else if (part.type === "tool_call") bytes += lengthOf(part.arguments)
      else bytes += part.text.length
    }
  }
  return bytes
}
