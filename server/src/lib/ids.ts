import { ALPHABET, chanceLetters } from "./chance.ts"

/**
 * An opaque id that is never used again: a prefix that names the kind, then 10 characters of time (milliseconds,
 * so that ids of one kind sort by age) and 16 of chance (80 bits), in Crockford's base 32.
 */
export function newId(prefix: string, now: number = Date.now()): string {
  if (now !== written.ms) written = { ms: now, text: timeText(now) }
  return `${prefix}_${written.text}${chanceLetters(CHANCE)}`
}

function timeText(ms: number): string {
  let text = ""
  for (let rest = ms, i = 0; i < 10; i++, rest = Math.floor(rest / 32)) text = ALPHABET[rest % 32] + text
  return text
}

const CHANCE = 16
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
