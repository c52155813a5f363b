import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { test } from "node:test"
import fc from "fast-check"
import { hashKey, newKey, readKey, sameHash } from "./format.ts"

const KINDS = ["admin", "user", "agent", "gateway", "cookie", "link"] as const

test("a key names its kind, is well formed, and is never made twice", () => {
  for (const kind of KINDS) {
    const keys = new Set(Array.from({ length: 1000 }, () => newKey(kind)))
    assert.equal(keys.size, 1000)
    for (const key of keys) assert.ok(readKey(key).isWellFormed, key)
  }
  assert.match(newKey("admin"), /^atn_admin_[0-9a-z]{49}$/)
  assert.match(newKey("user"), /^atn_user_[0-9a-z]{49}$/)
  assert.match(newKey("agent"), /^atn_agent_[0-9a-z]{49}$/)
})

test("any one wrong character, and any two that changed places, are seen without a look-up", () => {
  const letters = "0123456789abcdefghjkmnpqrstvwxyzABCilou_-é "
  fc.assert(
    fc.property(fc.constantFrom(...KINDS), fc.nat(70), fc.constantFrom(...letters), (kind, place, letter) => {
      const key = newKey(kind)
      const at = place % key.length
      const typo = key.slice(0, at) + letter + key.slice(at + 1)
      assert.equal(readKey(typo).isWellFormed, typo === key)
      const swapped = key.slice(0, at) + (key[at + 1] ?? "") + key[at] + key.slice(at + 2)
      assert.equal(readKey(swapped).isWellFormed, swapped === key)
    }),
    { numRuns: 500 },
  )
  for (const other of [
    "",
    "atn_user_",
    `${newKey("user")}x`,
    newKey("user").slice(0, -1),
    newKey("user").toUpperCase(),
  ])
    assert.equal(readKey(other).isWellFormed, false)
})

test("what is stored of keys stands in the order of their making, and of keys from before times were in them it is the same", () => {
  const times = [Date.UTC(2026, 0, 1), Date.UTC(2026, 0, 1) + 1, Date.UTC(2031, 5, 5)]
  const stored = times.map((time) => hashKey(newKey("user", time)))
  assert.deepEqual(stored.toSorted(), stored)
  const older = "atn_user_0123456789abcdefghjkmnpqrstvwxyz34dtq3t"
  assert.ok(readKey(older).isWellFormed)
  assert.equal(hashKey(older), createHash("sha256").update(older).digest("hex"))
})

test("hashes are SHA-256 in hex and are compared whole", () => {
  assert.equal(hashKey("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  assert.ok(sameHash(hashKey("abc"), hashKey("abc")))
  assert.ok(!sameHash(hashKey("abc"), hashKey("abd")))
  assert.ok(!sameHash("", hashKey("abc")))
})
