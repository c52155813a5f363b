import { isIPv6 } from "node:net"
import { RateLimiterMemory } from "rate-limiter-flexible"
import type { Awaitable } from "../lib/awaitable.ts"
import { AppError } from "../lib/errors.ts"
import type { Principal } from "./endpoint.ts"

const WINDOW_SECONDS = 60
const WRONG_KEYS_A_MINUTE = 100

/** What is left of a minute's requests after this one; `refused` when it was one too many. */
export interface Allowance {
  limit: number
  remaining: number
  resetSeconds: number
  refused: boolean
}

/** Counts in this process's memory: with several servers a user may send the sum of what each allows. */
export interface RateLimits {
  /** Counts the request. Null: this caller is not limited. */
  take(principal: Principal): Awaitable<Allowance | null>
  /** Counts a wrong key. Throws 429 when there were too many from this address. */
  wrongKey(ip: string): Promise<void>
}

export function createRateLimits(): RateLimits {
  // Each user has a limit of their own, so the limiter itself only counts.
  const requests = new RateLimiterMemory({ points: Number.MAX_SAFE_INTEGER, duration: WINDOW_SECONDS })
  const wrongKeys = new RateLimiterMemory({ points: Number.MAX_SAFE_INTEGER, duration: WINDOW_SECONDS })
  return {
    take({ kind, userId, limits }) {
      const limit = limits?.requests_per_minute ?? null
      if (kind === "admin" || userId === null || limit === null) return null
      return requests.consume(userId).then(({ consumedPoints, msBeforeNext }) => ({
        limit,
        remaining: Math.max(0, limit - consumedPoints),
        resetSeconds: Math.max(1, Math.ceil(msBeforeNext / 1000)),
        refused: consumedPoints > limit,
      }))
    },
    async wrongKey(ip) {
      const { consumedPoints, msBeforeNext } = await wrongKeys.consume(network(ip))
      if (consumedPoints <= WRONG_KEYS_A_MINUTE) return
      throw new AppError("rate_limited", "too many wrong API keys from this address", {
        retryAfterSeconds: Math.max(1, Math.ceil(msBeforeNext / 1000)),
      })
    },
  }
}

export function rateHeaders({ limit, remaining, resetSeconds }: Allowance): Record<string, string> {
  return {
    "RateLimit-Limit": String(limit),
    "RateLimit-Remaining": String(remaining),
    "RateLimit-Reset": String(resetSeconds),
  }
}

export function rateError({ resetSeconds }: Allowance): AppError {
  return new AppError("rate_limited", "too many requests, try again later", { retryAfterSeconds: resetSeconds })
}

/** One IPv6 customer has 2^64 addresses. */
function network(ip: string): string {
  if (!isIPv6(ip)) return ip
  const [head = "", tail] = ip.split("::", 2)
  const groups = head === "" ? [] : head.split(":")
  if (tail !== undefined) {
    const rest = tail === "" ? [] : tail.split(":")
    while (groups.length + rest.length < 8) groups.push("0")
    groups.push(...rest)
  }
  return groups.slice(0, 4).join(":")
}
