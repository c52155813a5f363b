import { randomBytes } from "node:crypto"

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"

/**
 * An opaque id that is never used again: a prefix that names the kind, then 10 characters of time (milliseconds,
 * so that ids of one kind sort by age) and 16 of chance (80 bits), in Crockford's base 32.
 */
export function newId(prefix: string, now: number = Date.now()): string {
  let time = ""
  for (let rest = now, i = 0; i < 10; i++, rest = Math.floor(rest / 32)) time = ALPHABET[rest % 32] + time
  let chance = ""
  for (const byte of randomBytes(16)) chance += ALPHABET[byte & 31]
  return `${prefix}_${time}${chance}`
}

export const ids = {
  user: () => newId("usr"),
  agent: () => newId("agt"),
  key: () => newId("key"),
  session: () => newId("ses"),
  message: () => newId("msg"),
  run: () => newId("run"),
  request: () => newId("req"),
  audit: () => newId("aud"),
  log: () => newId("log"),
  skill: () => newId("skl"),
  bundle: () => newId("bdl"),
  boot: () => newId("boot"),
}
