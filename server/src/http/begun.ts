import { AppError } from "../lib/errors.ts"

/** Of one user: what slow clients hold for minutes must not fill the memory, however many requests the plan allows. */
const BYTES_PER_USER = 128 * 1024 * 1024

/** Counts what has come of bodies that have not come whole. */
export interface Begun {
  /** Throws 429 when the user's bodies together would become too many bytes. */
  add(userId: string, bytes: number): void
  drop(userId: string, bytes: number): void
}

export function createBegun(bytesPerUser = BYTES_PER_USER): Begun {
  const byUser = new Map<string, number>()
  return {
    add(userId, bytes) {
      const all = (byUser.get(userId) ?? 0) + bytes
      if (all > bytesPerUser)
        throw new AppError("rate_limited", "too many requests whose bodies are still on the way", {
          retryAfterSeconds: 10,
        })
      byUser.set(userId, all)
    },
    drop(userId, bytes) {
      const left = (byUser.get(userId) ?? 0) - bytes
      if (left > 0) byUser.set(userId, left)
      else byUser.delete(userId)
    },
  }
}
