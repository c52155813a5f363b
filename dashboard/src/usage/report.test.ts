import assert from "node:assert/strict"
import { test } from "node:test"
import { csvOf, daysOf, forecastOf } from "./report.ts"

const tokens = { input: 1, output: 2, cache_read: 3, cache_write: 4, total: 10 }
const sums = { tokens, cost_usd: 0.5, runs: 1, estimated: false }
const report = {
  month: "2028-02",
  ...sums,
  limit_tokens: null,
  by_agent: [{ agent: "manager", ...sums }],
  by_model: [{ model: "=cmd|x", ...sums }],
  by_day: [{ date: "2028-02-29", ...sums }],
}

test("a month has a bar for each of its days, in a leap year too", () => {
  const days = daysOf(report)
  assert.equal(days.length, 29)
  assert.deepEqual([days[27]?.value, days[28]?.value], [0, 10])
})

test("the forecast goes on as the month went so far", () => {
  assert.equal(forecastOf(1000, new Date("2026-11-16T00:00:00Z")), 2000)
  assert.ok(forecastOf(10, new Date("2026-11-01T00:00:01Z")) <= 600, "its first seconds say nothing")
})

test("the table can be opened by a spreadsheet without running anything", () => {
  const lines = csvOf(report).trimEnd().split("\r\n")
  assert.equal(lines.length, 4)
  assert.equal(lines[1], "day,2028-02-29,1,2,3,4,10,0.5,1")
  assert.match(lines[3] ?? "", /^model,'=cmd\|x,/)
})
