import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { createStopWords } from "./stop-words.ts"

test("a text ends at the first stop word, however it is cut into pieces", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "c") })
  const words = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 3 }), {
    maxLength: 3,
  })
  fc.assert(
    fc.property(text, words, fc.integer({ min: 1, max: 4 }), (whole, stop, size) => {
      const made = createStopWords(stop)
      let shown = ""
      let found = false
      for (let i = 0; i < whole.length && !found; i += size) {
        const next = made.push(whole.slice(i, i + size))
        shown += next.show
        found = next.found
      }
      if (!found) shown += made.end()
      const places = stop.map((word) => whole.indexOf(word)).filter((place) => place >= 0)
      if (places.length === 0) assert.equal(shown, whole)
      // A piece may bring a later word that is shorter before an earlier, longer one is whole.
      else assert.ok(found && whole.startsWith(shown) && stop.some((word) => whole.startsWith(word, shown.length)))
    }),
  )
})
