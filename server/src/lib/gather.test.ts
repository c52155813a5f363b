import assert from "node:assert/strict"
import { test } from "node:test"
import { usedMemory } from "../../../test/memory.ts"
import { createGathered } from "./gather.ts"

test("what was gathered is what came, in its order", () => {
  const gathered = createGathered()
  assert.equal(gathered.whole().length, 0)
  for (const text of ["", "a", "", "bc", "d".repeat(1000), "e"]) gathered.add(Buffer.from(text))
  assert.equal(gathered.whole().toString(), `abc${"d".repeat(1000)}e`)
  assert.equal(gathered.size, 1004)
})

test("one chunk is not copied, and what it lies in is not written to", () => {
  const around = Buffer.from("abcdef")
  const gathered = createGathered()
  gathered.add(around.subarray(0, 2))
  assert.equal(gathered.whole().buffer, around.buffer)
  gathered.add(Buffer.from("xy"))
  assert.equal(gathered.whole().toString(), "abxy")
  assert.equal(around.toString(), "abcdef")
})

test("chunks of one byte take little more memory than their bytes", () => {
  const source = Buffer.alloc(300_000, "x")
  const before = usedMemory()
  const gathered = createGathered()
  for (let i = 0; i < source.length; i++) gathered.add(source.subarray(i, i + 1))
  const taken = usedMemory() - before
  assert.equal(gathered.size, source.length)
  assert.ok(taken < 8 * source.length, `${taken} bytes for ${source.length}`)
})
