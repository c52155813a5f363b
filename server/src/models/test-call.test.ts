import assert from "node:assert/strict"
import { test } from "node:test"
import { forEachDatabase } from "../../../test/databases.ts"
import { addUser, NO_LIMITS } from "../chat/test-kit.ts"
import type { Credentials } from "../runtime/protocol.ts"
import { NO_USAGE } from "../runtime/usage.ts"
import { createBudgets, createUsage } from "../usage/usage.ts"
import { testCall } from "./test-call.ts"

const clock = { now: () => Date.UTC(2026, 2, 15, 12) }
const never = new AbortController().signal
const credentials: Credentials = { owner: "platform", apiKey: "k", baseUrl: null, headers: {} }
const usage = { ...NO_USAGE, input_tokens: 12, output_tokens: 3, total_tokens: 15, cost_usd: 0.002 }

forEachDatabase((_name, open) => {
  test("trying a model is counted, and refused once the budget is spent", async () => {
    await using db = await open()
    const user = await addUser(db)
    const limits = { ...NO_LIMITS, tokens_per_month: 100 }
    const budgets = createBudgets({ db, clock, limits: async () => limits, platformUsdPerDay: null, waitMs: 0 })
    let calls = 0
    const runtime = {
      async testModel() {
        calls++
        return { ok: true, usage }
      },
    }
    const price = { input: 1, output: 2, cacheRead: 0, cacheWrite: 0 }
    const call = () =>
      testCall(
        { db, budgets, runtime, owner: "boot" },
        { userId: user.id, model: "openai/gpt-5.4", credentials, price },
        never,
      )
    assert.equal((await call()).ok, true)
    const report = await createUsage(db, clock).report(user.id, limits)
    assert.equal(report.tokens.total, 15)
    assert.equal(report.cost_usd, 0.002)
    limits.tokens_per_month = 15
    await assert.rejects(call(), { code: "budget_exhausted" })
    assert.equal(calls, 1)
    assert.deepEqual(await db.read.selectFrom("reservations").selectAll().execute(), [])
  })
})
