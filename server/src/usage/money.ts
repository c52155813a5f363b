/** Money is stored as whole nano-USD, so that sums are exact. */
const NANO = 1e9

export const toNano = (usd: number): number => Math.round(usd * NANO)
export const toUsd = (nano: number): number => nano / NANO

/** Nano-USD of one token at a price in USD per million tokens. */
export const nanoPerToken = (usdPerMillion: number): number => usdPerMillion * 1000
