import assert from "node:assert/strict"
import { test } from "node:test"
import { until } from "../../../test/until.ts"
import { every } from "./every.ts"

test("work at intervals is never begun twice at once, and its end is waited for", async () => {
  const log: string[] = []
  let release = () => {}
  const timer = every(
    1,
    async (signal) => {
      log.push("begun")
      await new Promise<void>((resolve) => {
        release = resolve
      })
      log.push(signal.aborted ? "heard of the end" : "ended")
    },
    () => {},
  )
  await until(() => log.length === 1, "the first")
  await new Promise((resolve) => setTimeout(resolve, 20))
  assert.deepEqual(log, ["begun"])
  release()
  await until(() => log.length === 3, "the second")
  let over = false
  const disposed = timer[Symbol.asyncDispose]().then(() => {
    over = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(over, false)
  release()
  await disposed
  assert.deepEqual(log, ["begun", "ended", "begun", "heard of the end"])
})

test("what fails is told, and tried again; what its end breaks off is not", async () => {
  const failures: unknown[] = []
  let waiting = false
  const timer = every(
    1,
    async (signal) => {
      if (failures.length < 2) throw new Error("no")
      waiting = true
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("broken off"))))
    },
    (error) => failures.push(error),
  )
  await until(() => waiting, "the third")
  await timer[Symbol.asyncDispose]()
  assert.equal(failures.length, 2)
})
