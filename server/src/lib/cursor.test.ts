import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { decodeCursor, encodeCursor, page } from "./cursor.ts"

test("a cursor gives back the values that it was made of", () => {
  const text = fc.string({ unit: "grapheme", maxLength: 50 }).filter((t) => t.isWellFormed() && !t.includes("\0"))
  fc.assert(
    fc.property(text, fc.maxSafeInteger(), (name, time) => {
      assert.deepEqual(decodeCursor(encodeCursor([name, time]), ["string", "number"]), [name, time])
    }),
  )
  assert.equal(decodeCursor(undefined, ["string"]), null)
})

test("whatever a client sends as a cursor is read, or refused as a 400", () => {
  const made = fc.json().map((json) => Buffer.from(json).toString("base64url"))
  fc.assert(
    fc.property(fc.oneof(fc.string(), made), (cursor) => {
      try {
        const [name, time] = decodeCursor(cursor, ["string", "number"]) ?? assert.fail()
        assert.ok(typeof name === "string" && Number.isSafeInteger(time))
      } catch (error) {
        assert.equal(error instanceof Error && "status" in error && error.status, 400)
      }
    }),
    { numRuns: 500 },
  )
})

test("the pages of a list hold each row once, in order, and the last one says so", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(1000)), fc.integer({ min: 1, max: 10 }), (values, limit) => {
      const all = values.sort((a, b) => a - b)
      const seen: number[] = []
      let cursor: string | undefined
      do {
        const after = decodeCursor(cursor, ["number"])?.[0] ?? -1
        const found = all.filter((value) => value > after).slice(0, limit + 1)
        const { rows, nextCursor } = page(found, limit, (value) => [value])
        assert.ok(rows.length <= limit)
        seen.push(...rows)
        cursor = nextCursor ?? undefined
      } while (cursor !== undefined)
      assert.deepEqual(seen, all)
    }),
  )
})
