import type { ReserveRequest } from "./protocol.ts"
import type { RunUsage } from "./transcript.ts"

/** To the nano-USD that sums are kept in: adding fractions leaves noise behind. */
export const roundUsd = (usd: number): number => Math.round(usd * 1e9) / 1e9

export const NO_USAGE: RunUsage = {
  input_tokens: 0,
  output_tokens: 0,
  cache_read_tokens: 0,
  cache_write_tokens: 0,
  total_tokens: 0,
  cost_usd: 0,
  estimated: false,
}

export function addUsage(a: RunUsage, b: RunUsage): RunUsage {
  return {
    input_tokens: a.input_tokens + b.input_tokens,
    output_tokens: a.output_tokens + b.output_tokens,
    cache_read_tokens: a.cache_read_tokens + b.cache_read_tokens,
    cache_write_tokens: a.cache_write_tokens + b.cache_write_tokens,
    total_tokens: a.total_tokens + b.total_tokens,
    cost_usd: roundUsd(a.cost_usd + b.cost_usd),
    estimated: a.estimated || b.estimated,
  }
}

/** What a call is booked as whose end nobody saw: its input by our estimate. */
export function usageIfLost({ inputTokens, price }: Pick<ReserveRequest, "inputTokens" | "price">): RunUsage {
  return {
    ...NO_USAGE,
    input_tokens: inputTokens,
    total_tokens: inputTokens,
    cost_usd: roundUsd((inputTokens * price.input) / 1e6),
    estimated: true,
  }
}
