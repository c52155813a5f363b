import assert from "node:assert/strict"
import { after, test } from "node:test"
import { freshPostgres } from "../../../test/databases.ts"
import { stopOwnPostgres } from "../../../test/postgres.ts"
import { until } from "../../../test/until.ts"
import { held, openBench } from "./test-kit.ts"

after(stopOwnPostgres)

test("a server's start leaves another server's runs alone; they end when that one has been silent for its lease", async () => {
  await using db = await freshPostgres()
  await using one = await openBench(db, { script: held().script, server: "server-1" })
  const run = await one.chat.submit(one.say("x", { session: "s" }))
  await using two = await openBench(await db.another(), { like: one, server: "server-2" })
  await two.chat.recover()
  const state = async () => (await two.chat.runs.get(two.user.id, two.agent, run.id)).state
  assert.equal(await state(), "running")

  // Seen from a clock that is an hour ahead, the first has not renewed its lease for that long.
  two.time.now += 3600_000
  await until(async () => (await state()) === "failed", "the lease is over", 20_000)
  const end = await run.ended
  assert.deepEqual(end, { state: "failed", error: { error: "the server was restarted", code: "crashed" } })
  assert.equal((await (await two.chat.submit(two.say("y", { session: "s" }))).ended).state, "succeeded")
})

test("a run that another server cancels stops at its owner, and what its call took is booked", async () => {
  await using db = await freshPostgres()
  const gate = held()
  await using one = await openBench(db, {
    server: "server-1",
    limits: { tokens_per_month: 10_000 },
    async script(spec, host, signal) {
      const price = { input: 1, output: 1, cacheRead: 0, cacheWrite: 0 }
      const counts = { inputTokens: 100, maxTokens: 100, price, isPriceKnown: true }
      const call = { model: "a/b", credentialsOwner: "user" as const, ...counts }
      const answer = await host.reserve(1, call, signal)
      assert.ok(answer.ok)
      const outcome = await gate.script(spec, host, signal)
      await host.settle(1, { ...outcome.usage, input_tokens: 90, total_tokens: 90, estimated: true })
      return outcome
    },
  })
  const run = await one.chat.submit(one.say("x"))
  await gate.started
  await using two = await openBench(await db.another(), { like: one, server: "server-2" })
  await two.chat.runs.cancel(two.user.id, two.agent, run.id)
  assert.equal((await run.ended).state, "cancelled")
  const sums = await until(
    () => db.kysely.selectFrom("usage_daily").selectAll().where("model", "=", "a/b").executeTakeFirst(),
    "what was spent is booked",
  )
  assert.deepEqual([sums.input_tokens, sums.estimated_calls], [90, 1])
  assert.deepEqual(await db.kysely.selectFrom("reservations").selectAll().execute(), [])
})

test("a call whose owner was silent is booked as lost by another server, and by its real count alone once that comes", async () => {
  await using db = await freshPostgres()
  const gate = held()
  const silence = Promise.withResolvers<void>()
  await using one = await openBench(db, {
    server: "server-1",
    async script(spec, host, signal) {
      const price = { input: 1, output: 1, cacheRead: 0, cacheWrite: 0 }
      const counts = { inputTokens: 500, maxTokens: 100, price, isPriceKnown: true }
      const answer = await host.reserve(1, { model: "a/b", credentialsOwner: "platform", ...counts }, signal)
      assert.ok(answer.ok)
      const outcome = await gate.script(spec, host, signal)
      await silence.promise
      await host.settle(1, { ...outcome.usage, input_tokens: 90, output_tokens: 7, total_tokens: 97 })
      return outcome
    },
  })
  const run = await one.chat.submit(one.say("x"))
  await gate.started
  await run.flushed()
  await using two = await openBench(await db.another(), { like: one, server: "server-2" })
  two.time.now += 3600_000
  const sums = async () => {
    const row = await db.kysely.selectFrom("usage_daily").selectAll().where("model", "=", "a/b").executeTakeFirst()
    return row && [row.input_tokens, row.output_tokens, row.platform_cost_nano, row.estimated_calls]
  }
  assert.deepEqual(await until(sums, "it is booked as lost", 20_000), [500, 0, 500_000, 1])
  silence.resolve()
  assert.equal((await run.ended).state, "failed")
  await until(async () => (await sums())?.[0] === 90, "the real count stands in its place")
  assert.deepEqual(await sums(), [90, 7, 0, 0])
  assert.deepEqual(await db.kysely.selectFrom("reservations").selectAll().execute(), [])
})
