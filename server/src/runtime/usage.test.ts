import assert from "node:assert/strict"
import { test } from "node:test"
import { addUsage, NO_USAGE, usageIfLost } from "./usage.ts"

test("a run's cost is the sum of its calls', without the noise of adding fractions", () => {
  const call = { ...NO_USAGE, input_tokens: 1, total_tokens: 1, cost_usd: 0.1 }
  let sum = NO_USAGE
  for (let calls = 1; calls <= 1000; calls++) {
    sum = addUsage(sum, call)
    assert.equal(JSON.stringify(sum.cost_usd), String(calls / 10))
  }
  assert.equal(sum.total_tokens, 1000)
  assert.equal(addUsage({ ...NO_USAGE, cost_usd: 1e-9 }, { ...NO_USAGE, cost_usd: 2e-9 }).cost_usd, 3e-9)
})

test("a call whose end nobody saw counts its input, marked as an estimate", () => {
  const price = { input: 3, output: 15, cacheRead: 0, cacheWrite: 0 }
  assert.deepEqual(usageIfLost({ inputTokens: 700, price }), {
    ...NO_USAGE,
    ...{ input_tokens: 700, total_tokens: 700, cost_usd: 0.0021, estimated: true },
  })
})
