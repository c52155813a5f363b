import { randomFillSync } from "node:crypto"

/** Drawn for many at once: a call to the system costs more than all else that a small request does. */
const pool = Buffer.alloc(4096)
let used = pool.length

/** So many random bytes (4,096 at most), fit for keys. They are given out once, and nothing of them is kept. */
export function chance(bytes: number): Buffer {
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const drawn = Buffer.from(pool.subarray(used, used + bytes))
  pool.fill(0, used, used + bytes)
  used += bytes
  return drawn
}
