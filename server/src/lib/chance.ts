import { randomFillSync } from "node:crypto"

/** Crockford's base 32, lower case: 5 bits a character, none that is taken for another. */
export const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
const LETTERS = Buffer.from(ALPHABET)

/** Drawn for many at once: a call to the system costs more than all else that a small request does. */
const pool = Buffer.alloc(4096)
let used = pool.length

/** So many letters (4,096 at most), each of 5 bits of chance, fit for keys. Nothing of them is kept. */
export function chanceLetters(count: number): string {
  if (used + count > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  const end = used + count
  for (let i = used; i < end; i++) pool[i] = LETTERS[(pool[i] ?? 0) & 31] ?? 0
  const letters = pool.toString("latin1", used, end)
  pool.fill(0, used, end)
  used = end
  return letters
}
