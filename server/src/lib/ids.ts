import { randomBytes } from "node:crypto"

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"

/**
 * An opaque id that is never used again: a prefix that names the kind, then 10 characters of time (milliseconds,
 * so that ids of one kind sort by age) and 16 of chance (80 bits), in Crockford's base 32.
 */
export function newId(prefix: string, now: number = Date.now()): string {
  if (now !== written.ms) written = { ms: now, text: timeText(now) }
  // Drawn for many ids at once: each request has one, and a call to the system costs more than all the rest here.
  if (used + CHANCE > drawn.length) {
    drawn = randomBytes(256 * CHANCE)
    used = 0
  }
  let id = `${prefix}_${written.text}`
  for (const end = used + CHANCE; used < end; used++) id += ALPHABET[(drawn[used] ?? 0) & 31]
  return id
}

function timeText(ms: number): string {
  let text = ""
  for (let rest = ms, i = 0; i < 10; i++, rest = Math.floor(rest / 32)) text = ALPHABET[rest % 32] + text
  return text
}

const CHANCE = 16
let drawn = Buffer.alloc(0)
let used = 0
/** Many ids share a millisecond. */
let written = { ms: -1, text: "" }

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
