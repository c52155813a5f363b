import type { ReserveRequest } from "../runtime/protocol.ts"
import { nanoPerToken } from "./money.ts"
import type { Amount, Dimension } from "./reservations.ts"

/** A call's `max_tokens` is lowered to what is left, but not below this: a shorter answer would be of no use. */
export const LEAST_MAX_TOKENS = 256

export interface Shortage {
  fits: false
  /** The limit that leaves the least. */
  dimension: Dimension
  /** Tokens or nano-USD that are not spoken for; never negative. */
  left: number
}

type Room = { fits: true; maxTokens: number } | Shortage

/** Could cached input be written, it would be the dearest kind of input. */
const inputPrice = ({ price }: ReserveRequest): number => nanoPerToken(Math.max(price.input, price.cacheWrite))

export const isPriced = (request: ReserveRequest): boolean => inputPrice(request) > 0 || request.price.output > 0

/** Nano-USD, rounded up. */
export function worstCost(request: ReserveRequest): number {
  return Math.ceil(request.inputTokens * inputPrice(request) + request.maxTokens * nanoPerToken(request.price.output))
}

/** The largest `max_tokens` up to the wanted one that every limit covers, now or once nothing is held any more. */
export function roomFor(
  request: ReserveRequest,
  amounts: readonly Amount[],
  when: "now" | "once the others have settled",
): Room {
  let maxTokens = request.maxTokens
  let tightest: Shortage | null = null
  for (const { dimension, used, reserved } of amounts) {
    const left = dimension.most - used - (when === "now" ? reserved : 0)
    const most = dimension.name === "tokens_per_month" ? left - request.inputTokens : tokensFor(request, left)
    if (most >= maxTokens) continue
    maxTokens = most
    tightest = { fits: false, dimension, left: Math.max(0, left) }
  }
  if (tightest === null || maxTokens >= Math.min(LEAST_MAX_TOKENS, request.maxTokens)) return { fits: true, maxTokens }
  return tightest
}

/** How many output tokens an amount of money pays for, once the input is paid; negative when it does not pay even that. */
function tokensFor(request: ReserveRequest, leftNano: number): number {
  const afterInput = leftNano - Math.ceil(request.inputTokens * inputPrice(request))
  if (afterInput < 0) return -1
  const each = nanoPerToken(request.price.output)
  return each === 0 ? Number.POSITIVE_INFINITY : Math.max(0, Math.floor((afterInput - 1) / each))
}
