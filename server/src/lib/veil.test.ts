import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import fc from "fast-check"
import { createVeil } from "./veil.ts"

const key = randomBytes(16)

test("every number comes back from its word, with the same key alone", () => {
  const [veil, again, other] = [createVeil(key), createVeil(key), createVeil(randomBytes(16))]
  fc.assert(
    fc.property(fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), (id) => {
      const word = veil.over(id)
      assert.match(word, /^[0-9a-f]{32}$/)
      assert.deepEqual([veil.under(word), again.under(word), other.under(word)], [id, id, null])
    }),
  )
  for (const word of ["", "7", "-1", "x".repeat(32), "0".repeat(32), veil.over(1).toUpperCase()])
    assert.equal(veil.under(word), null, word)
})

test("words of neighbours tell nothing of their distance", () => {
  const veil = createVeil(key)
  const words = Array.from({ length: 1000 }, (_, id) => veil.over(id))
  assert.equal(new Set(words.map((word) => word.slice(0, 16))).size, 1000)
  assert.notDeepEqual([...words].sort(), words)
})
