import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import { SealBroken, seal, unseal } from "./seal.ts"

const key = randomBytes(32)

test("what was sealed is opened again, whatever the bytes", () => {
  for (const plain of [Buffer.alloc(0), randomBytes(1), randomBytes(70_000)])
    assert.deepEqual(unseal(key, seal(key, plain, "usr_1/KEY"), "usr_1/KEY"), plain)
  assert.equal(unseal(key, seal(key, "größer", "a"), "a").toString(), "größer")
})

test("an envelope does not open in another place, with another key, or with any bit changed", () => {
  const sealed = seal(key, "value", "usr_1/KEY")
  assert.throws(() => unseal(key, sealed, "usr_2/KEY"), SealBroken)
  assert.throws(() => unseal(randomBytes(32), sealed, "usr_1/KEY"), SealBroken)
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const changed = Buffer.from(sealed)
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    assert.throws(() => unseal(key, changed, "usr_1/KEY"), SealBroken)
  }
  for (let length = 0; length < sealed.length; length++)
    assert.throws(() => unseal(key, sealed.subarray(0, length), "usr_1/KEY"), SealBroken)
})

test("the same value sealed twice gives different bytes that do not hold it", () => {
  const [a, b] = [seal(key, "hunter2-hunter2", ""), seal(key, "hunter2-hunter2", "")]
  assert.notDeepEqual(a, b)
  assert.ok(!a.includes("hunter2"))
})
