import assert from "node:assert/strict"
import { test } from "node:test"
import { silentLogger } from "../lib/log.ts"
import { startNightly, untilHour } from "./nightly.ts"

const HOUR = 60 * 60 * 1000
const NOON = Date.parse("2026-03-01T12:00:00Z")

/** A clock that is moved by whoever waits, until `nights` pieces of work are done. */
async function nights(count: number, work: (time: Date) => void): Promise<Date[]> {
  const clock = { time: NOON, now: () => clock.time }
  const worked: Date[] = []
  let finished = () => {}
  const done = new Promise<void>((resolve) => {
    finished = resolve
  })
  await using _nightly = startNightly({
    clock,
    log: silentLogger,
    hour: 3,
    async wait(ms, signal) {
      if (worked.length >= count) {
        finished()
        await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)))
      }
      clock.time += ms
    },
    async work() {
      worked.push(new Date(clock.time))
      work(new Date(clock.time))
    },
  })
  await done
  return worked
}

test("the work is done soon after the start and then each night", async () => {
  const times = await nights(4, () => {})
  assert.deepEqual(
    times.map((time) => time.toISOString()),
    ["2026-03-01T12:05:00.000Z", "2026-03-02T03:00:00.000Z", "2026-03-03T03:00:00.000Z", "2026-03-04T03:00:00.000Z"],
  )
})

test("a night that failed is tried again after an hour", async () => {
  const times = await nights(3, (time) => {
    if (time.getUTCHours() === 3) throw new Error("the registry is down")
  })
  assert.deepEqual(
    times.map((time) => time.toISOString()),
    ["2026-03-01T12:05:00.000Z", "2026-03-02T03:00:00.000Z", "2026-03-02T04:00:00.000Z"],
  )
})

test("stopping ends the work under way and waits for it", async () => {
  let ended = false
  let begun = () => {}
  const started = new Promise<void>((resolve) => {
    begun = resolve
  })
  const nightly = startNightly({
    clock: { now: () => NOON },
    log: silentLogger,
    hour: 3,
    wait: async () => {},
    async work(signal) {
      begun()
      await new Promise((resolve) => signal.addEventListener("abort", resolve))
      ended = true
    },
  })
  await started
  await nightly[Symbol.asyncDispose]()
  assert.equal(ended, true)
})

test("the next night is always ahead, and within a day", () => {
  for (const at of [0, 2.9, 3, 3.1, 23.9]) {
    const pause = untilHour(Date.parse("2026-03-01T00:00:00Z") + at * HOUR, 3)
    assert.ok(pause > 0 && pause <= 24 * HOUR, `${at}`)
  }
})
