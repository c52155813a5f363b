import assert from "node:assert/strict"
import { test } from "node:test"
import type { Limits } from "@autonomis/contract/plans.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import { until } from "../../../test/until.ts"
import { addAgent, addUser, NO_LIMITS } from "../chat/test-kit.ts"
import type { Database } from "../db/database.ts"
import type { ReserveRequest } from "../runtime/protocol.ts"
import { NO_USAGE } from "../runtime/usage.ts"
import { type BudgetOptions, createBudgets, type Payer, type Reservation } from "./budgets.ts"
import { createUsage } from "./usage.ts"

const NOON = Date.UTC(2026, 2, 15, 12)
const PRICE = { input: 1, output: 10, cacheRead: 0.1, cacheWrite: 2 }
const call = (inputTokens: number, maxTokens: number, more: Partial<ReserveRequest> = {}): ReserveRequest => ({
  model: "test/model",
  credentialsOwner: "user",
  inputTokens,
  maxTokens,
  price: PRICE,
  isPriceKnown: true,
  ...more,
})
const spent = (input: number, output: number, usd = 0) => ({
  ...NO_USAGE,
  input_tokens: input,
  output_tokens: output,
  total_tokens: input + output,
  cost_usd: usd,
})
const never = new AbortController().signal

async function setUp(db: Database, limits: Partial<Limits>, more: Partial<BudgetOptions> = {}) {
  const user = await addUser(db)
  const agent = await addAgent(db, user.id)
  const time = { now: NOON }
  const clock = { now: () => time.now }
  const now = { ...NO_LIMITS, ...limits }
  const budgets = createBudgets({ db, clock, limits: async () => now, platformUsdPerDay: null, waitMs: 200, ...more })
  const payer: Payer = { userId: user.id, agentId: agent.id, agentName: agent.name, runId: "run_1", owner: "o" }
  const granted = async (request: ReserveRequest, from = payer): Promise<Reservation & { maxTokens: number }> => {
    const { answer, reservation } = await budgets.reserve(from, request, never)
    assert.ok(answer.ok, JSON.stringify(answer))
    assert.ok(reservation)
    return { ...reservation, maxTokens: answer.maxTokens }
  }
  const refused = async (request: ReserveRequest) => {
    const { answer } = await budgets.reserve(payer, request, never)
    assert.ok(!answer.ok)
    return answer
  }
  const settle = async (reservation: Reservation, took: Parameters<typeof budgets.settleSteps>[1]) => {
    await db.batch(budgets.settleSteps(reservation, took))
    budgets.released(user.id)
  }
  return { budgets, settle, payer, time, limits: now, granted, refused, usage: createUsage(db, clock), user }
}

forEachDatabase((name, open) => {
  test("a hundred calls at once never pass the limit, and what they leave can be spent to the last", async () => {
    await using db = await open()
    const most = 10_000
    const { settle, budgets, payer, granted, refused, usage, user, limits } = await setUp(
      db,
      { tokens_per_month: most },
      { waitMs: 20_000 },
    )
    let held = 0
    let highest = 0
    let used = 0
    const one = async (i: number) => {
      const { answer, reservation } = await budgets.reserve({ ...payer, runId: `run_${i}` }, call(100, 1000), never)
      if (!answer.ok || reservation === null) return answer.ok ? "none" : answer.code
      held += 100 + answer.maxTokens
      highest = Math.max(highest, used + held)
      assert.ok(answer.maxTokens >= 256)
      await new Promise((resolve) => setImmediate(resolve))
      const took = spent(90, Math.min(answer.maxTokens, 60 + i))
      held -= 100 + answer.maxTokens
      used += took.total_tokens
      await settle(reservation, took)
      return "ok"
    }
    const results = await Promise.all(Array.from({ length: 100 }, (_, i) => one(i)))
    assert.ok(highest <= most, `${highest} of ${most}`)
    assert.ok(results.filter((result) => result === "ok").length > 40)
    const report = await usage.report(user.id, limits, "2026-03")
    assert.equal(report.tokens.total, used)
    assert.ok(used <= most)
    const left = most - used
    // The rest is given too, down to the smallest call that makes sense.
    if (left >= 257) {
      const rest = await granted(call(left - 256, 8192))
      assert.equal(rest.maxTokens, 256)
      await settle(rest, spent(left - 256, 256))
    }
    const answer = await refused(call(1, 1000))
    assert.equal(answer.code, "budget_exhausted")
    assert.deepEqual(answer.extra, {
      limit: "tokens_per_month",
      left: left >= 257 ? 0 : left,
      resets_at: "2026-04-01T00:00:00.000Z",
      retry_after_seconds: 16.5 * 24 * 3600,
    })
    assert.deepEqual(await db.kysely.selectFrom("reservations").selectAll().execute(), [])
  })

  test("max_tokens is lowered to what is left, but not below 256; a call that wants fewer needs no more", async () => {
    await using db = await open()
    const { granted, refused, settle } = await setUp(db, { tokens_per_month: 1000 })
    const lowered = await granted(call(300, 8192))
    assert.equal(lowered.maxTokens, 700)
    await settle(lowered, null)
    assert.equal((await refused(call(745, 8192))).code, "budget_exhausted")
    const small = await granted(call(984, 16))
    assert.equal(small.maxTokens, 16)
    await settle(small, null)
    const edge = await granted(call(744, 8192))
    assert.equal(edge.maxTokens, 256)
  })

  test("what fits only once another call has settled waits for it; what never fits is refused at once", async () => {
    await using db = await open()
    const { granted, settle, payer, refused } = await setUp(db, { tokens_per_month: 1000 }, { waitMs: 10_000 })
    const first = await granted(call(500, 400))
    let second: Awaited<ReturnType<typeof granted>> | null = null
    const waiting = granted(call(200, 300), { ...payer, runId: "run_2" }).then((got) => {
      second = got
    })
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal(second, null)
    await settle(first, spent(100, 10))
    await waiting
    const begun = performance.now()
    assert.equal((await refused(call(2000, 300))).code, "budget_exhausted")
    assert.ok(performance.now() - begun < 5000)
  })

  test("who waits in vain is told what is left; a run that is cancelled while it waits gives up", async () => {
    await using db = await open()
    const { granted, refused, budgets, payer } = await setUp(db, { tokens_per_month: 1000 }, { waitMs: 100 })
    await granted(call(500, 400))
    const answer = await refused(call(200, 300))
    assert.deepEqual([answer.extra?.left, answer.extra?.retry_after_seconds], [100, 10])
    const gone = new AbortController()
    const waits = budgets.reserve(payer, call(200, 300), gone.signal)
    gone.abort()
    assert.deepEqual((await waits).answer.ok, false)
  })

  test("money limits hold by the dearest that a call can cost, for the month, the day and the platform", async () => {
    await using db = await open()
    const { granted, settle, refused, time, limits } = await setUp(
      db,
      { usd_per_month: 0.02, usd_per_day: 0.01 },
      { platformUsdPerDay: 0.005 },
    )
    // 1,000 tokens of input may have to be written to the cache: 0.002. The rest pays for 800 tokens of output.
    const day = await granted(call(1000, 8192))
    assert.equal(day.maxTokens, 799)
    await settle(day, spent(1000, 799, 0.0099))
    const tired = await refused(call(1000, 8192))
    assert.deepEqual([tired.extra?.limit, tired.extra?.resets_at], ["usd_per_day", "2026-03-16T00:00:00.000Z"])
    const free = await granted(call(1000, 8192, { price: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 } }))
    assert.equal(free.maxTokens, 8192)

    time.now += 24 * 3600_000
    const platform = await granted(call(1000, 8192, { credentialsOwner: "platform" }))
    assert.equal(platform.maxTokens, 299)
    await settle(platform, spent(1000, 299, 0.0049))
    const ceiling = await refused(call(1000, 8192, { credentialsOwner: "platform" }))
    assert.deepEqual([ceiling.extra?.limit, ceiling.extra?.left], ["platform_usd_per_day", 0])
    // With a key of their own the platform's ceiling is not theirs.
    const own = await granted(call(1000, 8192))
    assert.equal(own.maxTokens, 309)
    await settle(own, null)

    limits.usd_per_day = null
    const month = await granted(call(1000, 8192))
    assert.equal(month.maxTokens, 319)
  })

  test("a model without a known price is not paid for by the platform while a limit in USD is in force", async () => {
    await using db = await open()
    const price = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 }
    const request = call(1000, 8192, { price, isPriceKnown: false, credentialsOwner: "platform" })
    const ceiling = await setUp(db, {}, { platformUsdPerDay: 5 })
    assert.equal((await ceiling.refused(request)).extra?.limit, "platform_usd_per_day")
    await ceiling.granted({ ...request, credentialsOwner: "user" })
    const own = await setUp(db, { usd_per_month: 5 })
    assert.equal((await own.refused(request)).extra?.limit, "usd_per_month")
    const unlimited = await setUp(db, { tokens_per_month: 100_000 })
    await unlimited.granted(request)
  })

  test("a reservation ends with its run", async () => {
    await using db = await open()
    const { granted, budgets, user } = await setUp(db, { tokens_per_month: 1000 }, { waitMs: 10_000 })
    await granted(call(500, 400))
    const waiting = granted(call(500, 400))
    await until(
      async () => (await db.kysely.selectFrom("reservations").selectAll().execute()).length === 1,
      "one holds",
    )
    await db.batch([budgets.releaseRun("run_1")])
    budgets.released(user.id)
    await waiting
  })

  test("a call whose server died is booked once, as an estimate that is marked, limited or not", async () => {
    await using db = await open()
    for (const limited of [{ tokens_per_month: 100_000, usd_per_day: 1 }, {}]) {
      const { granted, settle, budgets, usage, user, limits } = await setUp(db, limited)
      const done = await granted(call(10, 300))
      await db.batch(done.unwritten)
      await settle(done, spent(10, 5))
      const lost = await granted(call(40, 300, { credentialsOwner: "platform" }))
      await db.batch(lost.unwritten)
      assert.equal((await usage.report(user.id, limits)).estimated, false)
      for (let again = 0; again < 2; again++) {
        await budgets.bookLost({ runId: "run_1" })
        const report = await usage.report(user.id, limits)
        assert.deepEqual([report.tokens.input, report.tokens.output, report.estimated], [50, 5, true])
        assert.equal(report.cost_usd, 0.00004)
      }
      const rows = await db.kysely.selectFrom("usage_daily").selectAll().where("user_id", "=", user.id).execute()
      assert.deepEqual(
        rows.map((row) => row.platform_cost_nano),
        [40_000],
      )
    }
    const held = await db.kysely.selectFrom("reservations").select("tokens").execute()
    assert.ok(held.every(({ tokens }) => tokens === 0))
  })

  // On SQLite one server alone has the database.
  if (name === "postgres") {
    test("a call that its server settles while another books it as lost counts once, by what it really took", async () => {
      await using db = await open()
      const { granted, budgets, usage, user, limits, payer } = await setUp(db, { tokens_per_month: 1_000_000 })
      await using elsewhere = await db.another()
      const clock = { now: () => NOON }
      const other = createBudgets({ db: elsewhere, clock, limits: async () => NO_LIMITS, platformUsdPerDay: null })
      await Promise.all(
        Array.from({ length: 40 }, async (_, i) => {
          const runId = `run_${i}`
          const held = await granted(call(1000, 300), { ...payer, runId })
          const settle = () => db.batch(budgets.settleSteps(held, i % 8 === 7 ? null : spent(10, 5)))
          const lose = () => other.bookLost({ runId })
          if (i % 4 === 0) await lose().then(settle)
          else if (i % 4 === 1) await settle().then(lose)
          else await Promise.all([lose(), settle()])
          await lose()
        }),
      )
      const report = await usage.report(user.id, limits)
      assert.deepEqual([report.tokens.input, report.tokens.output, report.estimated], [350, 175, false])
      assert.deepEqual(await db.kysely.selectFrom("reservations").selectAll().execute(), [])
    })

    test("what was booked as lost holds nothing, and is forgotten once nobody can come late", async () => {
      await using db = await open()
      const { granted, budgets, payer, time } = await setUp(db, { tokens_per_month: 1_000_000 })
      await granted(call(1000, 300))
      await budgets.bookLost({ runId: "run_1" })
      const held = () => db.kysely.selectFrom("reservations").select(["run_id", "owner", "tokens"]).execute()
      assert.deepEqual(await held(), [{ run_id: "run_1", owner: "", tokens: 0 }])
      time.now += 25 * 3600_000
      await granted(call(1000, 300), { ...payer, runId: "run_2" })
      await budgets.bookLost({ runId: "run_2" })
      assert.deepEqual(await held(), [{ run_id: "run_2", owner: "", tokens: 0 }])
    })
  }

  test("a call outside a run is booked as lost only where its server is gone", async () => {
    await using db = await open()
    const { granted, budgets, payer, usage, user, limits } = await setUp(db, { tokens_per_month: 100_000 })
    await granted(call(40, 300), { ...payer, runId: "test_1", owner: "dead" })
    await granted(call(7, 300), { ...payer, runId: "test_2", owner: "alive" })
    await budgets.bookLost({ withoutRun: (owner) => owner === "dead" })
    assert.equal((await usage.report(user.id, limits)).tokens.total, 40)
    const held = await db.kysely.selectFrom("reservations").selectAll().where("tokens", ">", 0).execute()
    assert.deepEqual(
      held.map((row) => row.run_id),
      ["test_2"],
    )
  })

  test("nothing is booked for a user who is being deleted", async () => {
    await using db = await open()
    const { granted, settle, user } = await setUp(db, { tokens_per_month: 1000 })
    const held = await granted(call(10, 300))
    await db.batch([{ query: db.kysely.updateTable("users").set({ state: "deleting" }).where("id", "=", user.id) }])
    await settle(held, spent(10, 10))
    assert.deepEqual(await db.kysely.selectFrom("usage_daily").selectAll().execute(), [])
  })

  test("the report's sums are exact, by agent, model and day, and say where a count is an estimate", async () => {
    await using db = await open()
    const { granted, settle, payer, time, usage, user, limits } = await setUp(db, {})
    const book = async (agentName: string, model: string, usage_: ReturnType<typeof spent>) => {
      const reservation = await granted(call(1, 1, { model }), { ...payer, agentId: `agt_${agentName}`, agentName })
      await settle(reservation, usage_)
    }
    await book("manager", "a/x", {
      ...spent(7, 3, 0.001),
      cache_read_tokens: 100,
      cache_write_tokens: 20,
      total_tokens: 130,
    })
    await book("manager", "a/x", spent(1, 1, 0.0000001))
    await book("helper", "b/y", { ...spent(5, 0), estimated: true })
    time.now += 24 * 3600_000
    await book("helper", "a/x", spent(2, 2))
    time.now += 30 * 24 * 3600_000
    await book("helper", "a/x", spent(1000, 0))

    const report = await usage.report(user.id, limits, "2026-03")
    assert.deepEqual(report.tokens, { input: 15, output: 6, cache_read: 100, cache_write: 20, total: 141 })
    assert.equal(report.cost_usd, 0.0010001)
    assert.equal(report.estimated, true)
    assert.deepEqual(
      report.by_agent.map(({ agent, tokens }) => [agent, tokens.total]),
      [
        ["helper", 9],
        ["manager", 132],
      ],
    )
    assert.deepEqual(
      report.by_model.map(({ model, tokens, estimated }) => [model, tokens.total, estimated]),
      [
        ["a/x", 136, false],
        ["b/y", 5, true],
      ],
    )
    assert.deepEqual(
      report.by_day.map(({ date, tokens }) => [date, tokens.total]),
      [
        ["2026-03-15", 137],
        ["2026-03-16", 4],
      ],
    )
    assert.equal((await usage.report(user.id, limits)).tokens.total, 1000)
    assert.equal((await usage.report(user.id, limits, "2020-01")).tokens.total, 0)
  })
})
