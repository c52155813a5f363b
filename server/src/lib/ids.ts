import { chance } from "./chance.ts"

const ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"

/**
 * An opaque id that is never used again: a prefix that names the kind, then 10 characters of time (milliseconds,
 * so that ids of one kind sort by age) and 16 of chance (80 bits), in Crockford's base 32.
 */
export function newId(prefix: string, now: number = Date.now()): string {
  if (now !== written.ms) written = { ms: now, text: timeText(now) }
  const letters = chance(CHANCE)
  for (let i = 0; i < CHANCE; i++) letters[i] = LETTERS[(letters[i] ?? 0) & 31] ?? 0
  return `${prefix}_${written.text}${letters.toString("latin1")}`
}

function timeText(ms: number): string {
  let text = ""
  for (let rest = ms, i = 0; i < 10; i++, rest = Math.floor(rest / 32)) text = ALPHABET[rest % 32] + text
  return text
}

const CHANCE = 16
const LETTERS = Buffer.from(ALPHABET)
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
