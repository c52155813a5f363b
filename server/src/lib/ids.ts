import { ALPHABET, chanceLetters } from "./chance.ts"

/**
 * An opaque id that is never used again: a prefix that names the kind, then 10 characters of time (milliseconds,
 * so that ids of one kind sort by age) and 16 of chance (80 bits), in Crockford's base 32.
 */
export function newId(prefix: string, now: number = Date.now()): string {
  return `${prefix}_${timeLetters(now)}${chanceLetters(CHANCE)}`
}

/** A time in milliseconds as 10 letters that sort as times do. */
export function timeLetters(ms: number): string {
  if (ms === written.ms) return written.text
  let text = ""
  for (let rest = ms, i = 0; i < TIME_LENGTH; i++, rest = Math.floor(rest / 32)) text = ALPHABET[rest % 32] + text
  written = { ms, text }
  return text
}

const TIME_LENGTH = 10
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
