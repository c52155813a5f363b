import { hash, timingSafeEqual } from "node:crypto"
import { crc32 } from "node:zlib"
import type { KeyKind } from "../db/schema.ts"
import { ALPHABET, chanceLetters } from "../lib/chance.ts"
import { timeLetters } from "../lib/ids.ts"

const CHANCE_LENGTH = 32
const CHECK_LENGTH = 7

const PREFIX: Record<KeyKind, string> = {
  admin: "atn_admin_",
  user: "atn_user_",
  agent: "atn_agent_",
  gateway: "atn_gw_",
  cookie: "atn_cookie_",
  link: "atn_link_",
}
/** Keys made by older versions have no time in them. */
const FORM =
  /^(atn_(?:admin|user|agent|gw|cookie|link)_([0-9a-hjkmnp-tv-z]{10})?[0-9a-hjkmnp-tv-z]{32})([0-9a-hjkmnp-tv-z]{7})$/

/**
 * A fresh key: the time `now` in milliseconds and 160 bits of chance behind the kind's prefix, and a checksum. It is kept
 * nowhere but with its owner.
 */
export function newKey(kind: KeyKind, now: number = Date.now()): string {
  const head = PREFIX[kind] + timeLetters(now) + chanceLetters(CHANCE_LENGTH)
  return head + checksum(head)
}

/**
 * `hash`: what is stored and looked for instead of the key: its SHA-256, behind the time in it, so that new keys stand
 * together in the database. `isWellFormed`: is it written as a key of this platform, without a typo? That says nothing
 * about whether it opens anything.
 */
export function readKey(key: string): { hash: string; isWellFormed: boolean } {
  const [, head, time = "", check] = FORM.exec(key) ?? []
  return { hash: time + hash("sha256", key), isWellFormed: head !== undefined && check === checksum(head) }
}

export const hashKey = (key: string): string => readKey(key).hash

/** Compares two hashes in a time that does not tell where they differ. */
export function sameHash(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
}

function checksum(head: string): string {
  let text = ""
  for (let rest = crc32(head), i = 0; i < CHECK_LENGTH; i++, rest = Math.floor(rest / 32))
    text = ALPHABET[rest % 32] + text
  return text
}
