import assert from "node:assert/strict"
import { test } from "node:test"
import { runInNewContext } from "node:vm"
import { giveBackMemory } from "./give-back.ts"

const MIB = 1024 * 1024
const heapUsed = () => process.memoryUsage().heapUsed

test("what is not needed any more is given back at once, and no context gets the engine's collector from it", () => {
  let left: number[] | null = new Array(8 * MIB).fill(0.5)
  const held = heapUsed()
  assert.equal(left.length, 8 * MIB)
  left = null
  giveBackMemory()
  assert.ok(held - heapUsed() > 50 * MIB, `${held} bytes before, ${heapUsed()} after`)
  assert.equal(runInNewContext("typeof gc"), "undefined")
})
