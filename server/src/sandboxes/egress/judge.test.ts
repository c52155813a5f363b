import assert from "node:assert/strict"
import { test } from "node:test"
import { ownNames } from "./judge.ts"

test("an own name that does not resolve is asked for again soon, one that does once a minute", async () => {
  let nowMs = 0
  let asked = 0
  let answer: string[] | null = null
  const lookup = async () => {
    asked++
    if (answer === null) throw new Error("no name server")
    return answer
  }
  const own = ownNames(
    () => ["agents.test"],
    lookup,
    () => nowMs,
  )
  const addresses = async () => [...(await own.addresses(AbortSignal.timeout(1000)))]

  assert.deepEqual(await addresses(), [])
  answer = ["198.51.100.7"]
  assert.deepEqual(await addresses(), [])
  nowMs += 2_001
  assert.deepEqual(await addresses(), answer)
  assert.equal(asked, 2)

  answer = null
  nowMs += 59_000
  assert.deepEqual(await addresses(), ["198.51.100.7"])
  assert.equal(asked, 2)
  nowMs += 1_001
  assert.deepEqual(await addresses(), ["198.51.100.7"])
  answer = ["198.51.100.8"]
  nowMs += 2_001
  assert.deepEqual(await addresses(), ["198.51.100.8"])
})
