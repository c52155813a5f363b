import type { Limits } from "@autonomis/contract/plans.ts"
import { AppError } from "../lib/errors.ts"

/** What a user keeps, over all that counts against the plan: workspaces, skills, attachments, transcripts. */
export interface Storage {
  bytes(userId: string): Promise<number>
  /** 403 `plan_limit` when so many more bytes do not fit. What is added meanwhile is counted until the next look. */
  ensure(userId: string, moreBytes: number): Promise<void>
}

export interface StorageOptions {
  limits(userId: string): Promise<Limits | null>
  /** Each says what one kind of thing takes. */
  sources: readonly ((userId: string) => Promise<number>)[]
  now: () => number
}

/** A workspace is walked to be measured, so a sum is good for a while; near the limit it is taken afresh. */
const GOOD_MS = 10_000
const KEPT_USERS = 10_000

export function createStorage({ limits, sources, now }: StorageOptions): Storage {
  const known = new Map<string, { bytes: number; at: number }>()

  async function measure(userId: string): Promise<{ bytes: number; at: number }> {
    const at = now()
    const parts = await Promise.all(sources.map((source) => source(userId)))
    const sum = { bytes: parts.reduce((total, part) => total + part, 0), at }
    if (known.size >= KEPT_USERS) known.delete(known.keys().next().value ?? "")
    known.set(userId, sum)
    return sum
  }

  return {
    bytes: async (userId) => (await measure(userId)).bytes,
    async ensure(userId, moreBytes) {
      const most = (await limits(userId))?.storage_bytes ?? null
      if (most === null) return
      let sum = known.get(userId)
      if (sum === undefined || now() - sum.at > GOOD_MS || sum.bytes + moreBytes > most) sum = await measure(userId)
      if (sum.bytes + moreBytes > most)
        throw new AppError("plan_limit", `your plan allows ${most} bytes of storage; ${sum.bytes} are in use`, {
          extra: { limit: "storage_bytes", max: most },
        })
      sum.bytes += moreBytes
    },
  }
}
