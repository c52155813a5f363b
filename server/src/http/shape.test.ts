import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { shapeOf } from "./shape.ts"

/** The same, read byte by byte. */
function slowly(json: Buffer): string {
  let [depth, members, inString] = [0, 0, false]
  for (let i = 0; i < json.length; i++) {
    const char = String.fromCharCode(json[i] ?? 0)
    if (inString) {
      if (char === "\\") i++
      else if (char === '"') inString = false
    } else if (char === '"') inString = true
    else if ("{[".includes(char)) {
      if (++depth > 64) return "deep"
    } else if ("}]".includes(char)) depth--
    else if (",:".includes(char) && ++members > 100_000) return "crowded"
  }
  return "fine"
}

test("what stands inside strings never counts, however long they are and whatever is escaped", () => {
  const deep = "[".repeat(65)
  const piece = fc.constantFrom('"', "\\", "\\\\", '\\"', "a", "a".repeat(33), "{", "]", ",", deep, "\\".repeat(40))
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
      const json = Buffer.from(pieces.join(""))
      assert.equal(shapeOf(json), slowly(json))
    }),
    { numRuns: 5000 },
  )
})

test("depth and members are bounded", () => {
  assert.equal(shapeOf(Buffer.from("[".repeat(64))), "fine")
  assert.equal(shapeOf(Buffer.from("[".repeat(65))), "deep")
  assert.equal(shapeOf(Buffer.from(",".repeat(100_000))), "fine")
  assert.equal(shapeOf(Buffer.from(",".repeat(100_001))), "crowded")
})
