import assert from "node:assert/strict"
import { PassThrough } from "node:stream"
import { test } from "node:test"
import { until } from "../../../test/until.ts"
import { createPace, createTurns } from "./large-bodies.ts"

const limits = { bytesPerUser: 10, bytesInAll: 15 }
const client = () => new PassThrough()

test("a body counts until its request is answered and its run has ended; a user's next waits for that alone", async () => {
  const take = createTurns(limits)
  const first = await take("ada", 10, client())
  const run = Promise.withResolvers<void>()
  first.holdUntil(run.promise)
  let second = false
  const next = take("ada", 1, client()).then((turn) => {
    second = true
    return turn
  })
  const other = await take("bob", 5, client())
  first.end()
  await take("bob", 0, client())
  assert.equal(second, false)
  run.resolve()
  await until(() => second, "the next has its turn")
  ;(await next).end()
  other.end()
  ;(await take("eve", 15, client())).end()
})

test("who waits too long is told so, and a client that goes away leaves its place", async () => {
  const take = createTurns(limits, 20)
  const first = await take("ada", 10, client())
  await assert.rejects(take("ada", 10, client()), { code: "concurrency_limit", retryAfterSeconds: 10 })
  const gone = client()
  const waiting = createTurns({ ...limits, bytesPerUser: 1 })
  const holder = await waiting("ada", 1, client())
  const left = waiting("ada", 1, gone)
  gone.destroy()
  await assert.rejects(left, { code: "invalid_request" })
  await assert.rejects(waiting("ada", 1, gone), { code: "invalid_request" })
  const next = waiting("ada", 1, client())
  holder.end()
  ;(await next).end()
  first.end()
})

test("whoever receives counts: together large bodies come at 32 MiB a second", () => {
  const pace = createPace()
  const start = performance.now()
  const [first, second] = [pace(32 * 1024 * 1024), pace(16 * 1024 * 1024)]
  const passed = performance.now() - start
  assert.ok(Math.abs(first - 1024) < 1 && second <= 1536 && second >= 1536 - passed, `${first}, ${second}`)
})
