import assert from "node:assert/strict"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { test } from "node:test"
import { forEachDatabase } from "../../../test/databases.ts"
import { until } from "../../../test/until.ts"
import { AppError } from "../lib/errors.ts"
import { assistant, held, openBench, says, succeeded } from "./test-kit.ts"

const ORIGIN = { actor: "user:ada", ip: null, requestId: "req_1" }

forEachDatabase((_name, open) => {
  test("without a session the model gets exactly the messages, and nothing is kept of them", async () => {
    await using db = await open()
    await using bench = await openBench(db)
    const run = await bench.chat.submit(
      bench.say("", {
        messages: [
          { role: "system", content: "Answer in verse." },
          { role: "user", content: "One" },
          { role: "assistant", content: "Two" },
          { role: "user", content: "Three" },
        ],
      }),
    )
    const end = await run.ended
    assert.equal(end.state, "succeeded")
    assert.deepEqual(end.state === "succeeded" && { ...end.answer, run_id: "" }, {
      message: "Hello there.",
      agent: "manager",
      session: null,
      run_id: "",
      stop_reason: "end_turn",
      usage: { ...(await import("./test-kit.ts")).USAGE },
      tool_calls: [],
    })
    const [spec] = bench.runtime.specs
    assert.equal(spec?.prompt.instruction, "Answer in verse.")
    assert.deepEqual(
      spec?.history.map(({ message }) => message.role),
      ["user", "assistant", "user"],
    )
    assert.equal((await db.kysely.selectFrom("messages").selectAll().execute()).length, 0)
  })

  test("a session's history grows by each message and answer, and the model is given it", async () => {
    await using db = await open()
    await using bench = await openBench(db)
    for (const text of ["first", "second", "third"]) {
      const run = await bench.chat.submit(bench.say(text, { session: "s1" }))
      assert.equal((await run.ended).state, "succeeded")
    }
    const roles = bench.runtime.specs.map((spec) => spec.history.map(({ seq, message }) => `${seq} ${message.role}`))
    assert.deepEqual(roles[2], ["1 user", "2 assistant", "3 user", "4 assistant", "5 user"])
    const { messages } = await bench.chat.sessions.read(bench.user.id, bench.agent, "s1", { limit: 50 })
    assert.deepEqual(
      messages.map(({ role, content }) => [role, content]),
      [
        ["user", "first"],
        ["assistant", "Hello there."],
        ["user", "second"],
        ["assistant", "Hello there."],
        ["user", "third"],
        ["assistant", "Hello there."],
      ],
    )
    const { sessions } = await bench.chat.sessions.list(bench.user.id, bench.agent, { limit: 50 })
    assert.deepEqual(
      sessions.map(({ session, title, message_count }) => [session, title, message_count]),
      [["s1", "first", 6]],
    )
  })

  test("messages that come at once into a session run one by one in their order; the tenth is refused", async () => {
    await using db = await open()
    const first = held()
    await using bench = await openBench(db, { script: first.script })
    const sent = Array.from({ length: 10 }, (_, i) => bench.chat.submit(bench.say(`m${i}`, { session: "s" })))
    const results = await Promise.allSettled(sent)
    const refused = results.flatMap((result, i) => (result.status === "rejected" ? [[i, result.reason]] : []))
    assert.equal(refused.length, 1)
    assert.equal(refused[0]?.[0], 9)
    assert.ok(refused[0]?.[1] instanceof AppError && refused[0][1].code === "conflict")
    let running = 0
    bench.runtime.script = async (spec, host, signal) => {
      assert.equal(++running, 1)
      await new Promise((resolve) => setImmediate(resolve))
      running--
      return says("ok")(spec, host, signal)
    }
    first.release()
    for (const result of results) if (result.status === "fulfilled") await result.value.ended
    const said = bench.runtime.specs.map((spec) => spec.history.at(-1)?.message)
    assert.deepEqual(
      said.map((message) => message?.role === "user" && message.content[0]?.type === "text" && message.content[0].text),
      Array.from({ length: 9 }, (_, i) => `m${i}`),
    )
    assert.equal(bench.chat.runsNow(), 0)
  })

  test("messages of one millisecond never wait for each other, whatever their ids", async () => {
    await using db = await open()
    await using bench = await openBench(db, { script: says("ok") })
    // Of eight ids that have no order some are the wrong way round, in each of these.
    for (const session of ["a", "b", "c", "d"]) {
      const sent = Array.from({ length: 9 }, (_, i) => bench.chat.submit(bench.say(`${session}${i}`, { session })))
      for (const run of await Promise.all(sent)) assert.equal((await run.ended).state, "succeeded")
    }
    const said = bench.runtime.specs.map((spec) => spec.history.at(-1)?.message)
    assert.deepEqual(
      said.map((message) => message?.role === "user" && message.content[0]?.type === "text" && message.content[0].text),
      ["a", "b", "c", "d"].flatMap((session) => Array.from({ length: 9 }, (_, i) => session + i)),
    )
  })

  test("of 100 messages at once exactly as many run as the plan allows", async () => {
    await using db = await open()
    const all = held()
    await using bench = await openBench(db, { script: all.script, limits: { concurrent_runs: 7 } })
    const results = await Promise.allSettled(Array.from({ length: 100 }, () => bench.chat.submit(bench.say("x"))))
    const codes = results.map((r) => (r.status === "fulfilled" ? "ok" : r.reason instanceof AppError && r.reason.code))
    assert.equal(codes.filter((code) => code === "ok").length, 7)
    assert.equal(codes.filter((code) => code === "concurrency_limit").length, 93)
    all.release()
    for (const r of results) if (r.status === "fulfilled") await r.value.ended
    const again = await bench.chat.submit(bench.say("x"))
    assert.equal((await again.ended).state, "succeeded")
  })

  test("what waits in a session takes no place of its own, and a place is free when the session is", async () => {
    await using db = await open()
    const first = held()
    await using bench = await openBench(db, { script: first.script, limits: { concurrent_runs: 1 } })
    const runs = [
      await bench.chat.submit(bench.say("a", { session: "s" })),
      await bench.chat.submit(bench.say("b", { session: "s" })),
    ]
    await assert.rejects(bench.chat.submit(bench.say("c")), { code: "concurrency_limit" })
    first.release()
    for (const run of runs) assert.equal((await run.ended).state, "succeeded")
    await bench.chat.submit(bench.say("c"))
  })

  test("a cancelled run ends as cancelled, once; one that waits never begins and leaves no message", async () => {
    await using db = await open()
    const first = held()
    await using bench = await openBench(db, { script: first.script })
    const running = await bench.chat.submit(bench.say("a", { session: "s" }))
    const waiting = await bench.chat.submit(bench.say("b", { session: "s" }))
    const { user, agent } = bench
    assert.equal((await bench.chat.runs.get(user.id, agent, waiting.id)).state, "queued")
    await bench.chat.runs.cancel(user.id, agent, waiting.id)
    assert.equal((await waiting.ended).state, "cancelled")
    await assert.rejects(bench.chat.runs.cancel(user.id, agent, waiting.id), { code: "conflict" })
    assert.equal(running.state, "running")
    await bench.chat.runs.cancel(user.id, agent, running.id)
    assert.equal((await running.ended).state, "cancelled")
    const got = await bench.chat.runs.get(user.id, agent, running.id)
    assert.deepEqual([got.state, got.error?.code, got.result], ["cancelled", "cancelled", null])
    assert.equal(bench.runtime.specs.length, 1)
    const { messages } = await bench.chat.sessions.read(user.id, agent, "s", { limit: 10 })
    assert.deepEqual(
      messages.map(({ content }) => content),
      ["a"],
    )
  })

  test("a session with a run under way can neither be deleted nor cut; afterwards it can", async () => {
    await using db = await open()
    await using bench = await openBench(db)
    const { user, agent, chat } = bench
    for (const text of ["one", "two", "three"]) await (await chat.submit(bench.say(text, { session: "s" }))).ended
    const under = held()
    bench.runtime.script = under.script
    const run = await chat.submit(bench.say("four", { session: "s" }))
    const { messages } = await chat.sessions.read(user.id, agent, "s", { limit: 50 })
    const second = messages[2]?.id ?? ""
    await assert.rejects(chat.sessions.delete(user, agent, "s", ORIGIN), { code: "conflict" })
    await assert.rejects(chat.sessions.cut(user, agent, "s", second, ORIGIN), { code: "conflict" })
    under.release()
    await run.ended
    await chat.sessions.cut(user, agent, "s", second, ORIGIN)
    const left = await chat.sessions.read(user.id, agent, "s", { limit: 50 })
    assert.deepEqual(
      left.messages.map(({ content }) => content),
      ["one", "Hello there."],
    )
    await (await chat.submit(bench.say("again", { session: "s" }))).ended
    assert.deepEqual(
      bench.runtime.specs.at(-1)?.history.map(({ seq }) => seq),
      [1, 2, 3],
    )
    await chat.sessions.delete(user, agent, "s", ORIGIN)
    await assert.rejects(chat.sessions.read(user.id, agent, "s", { limit: 50 }), { code: "not_found" })
    await assert.rejects(chat.runs.get(user.id, agent, run.id), { code: "not_found" })
  })

  test("another agent's run and session are not there", async () => {
    await using db = await open()
    await using mine = await openBench(db)
    await using other = await openBench(db)
    const run = await mine.chat.submit(mine.say("a", { session: "s" }))
    await run.ended
    await assert.rejects(mine.chat.runs.get(other.user.id, other.agent, run.id), { code: "not_found" })
    await assert.rejects(mine.chat.runs.cancel(mine.user.id, other.agent, run.id), { code: "not_found" })
    await assert.rejects(mine.chat.sessions.read(other.user.id, other.agent, "s", { limit: 1 }), { code: "not_found" })
    await assert.rejects(mine.chat.sessions.delete(other.user, other.agent, "s", ORIGIN), { code: "not_found" })
  })

  test("a suspended account, a deleted agent, a paused platform and a stopping server start nothing", async () => {
    await using db = await open()
    await using bench = await openBench(db)
    const state = (value: "active" | "suspended") =>
      db.batch([{ query: db.kysely.updateTable("users").set({ state: value }).where("id", "=", bench.user.id) }])
    await state("suspended")
    await assert.rejects(bench.chat.submit(bench.say("a")), { code: "suspended" })
    await state("active")
    bench.ports.paused = () => true
    await assert.rejects(bench.chat.submit(bench.say("a")), { code: "unavailable" })
    bench.ports.paused = () => false
    await db.batch([{ query: db.kysely.deleteFrom("agents").where("id", "=", bench.agent.id) }])
    await assert.rejects(bench.chat.submit(bench.say("a", { session: "s" })), { code: "not_found" })
    bench.chat.close()
    await assert.rejects(bench.chat.submit(bench.say("a")), { code: "unavailable" })
    assert.deepEqual(await bench.rows(), [])
    assert.deepEqual(await db.kysely.selectFrom("sessions").selectAll().execute(), [])
  })

  test("a run that fails says why, and its user can go on in the session", async () => {
    await using db = await open()
    await using bench = await openBench(db, {
      script: async () => ({
        type: "failed",
        code: "budget_exhausted",
        message: "used up",
        extra: { left: 3 },
        usage: (await import("./test-kit.ts")).USAGE,
      }),
    })
    const run = await bench.chat.submit(bench.say("a", { session: "s" }))
    const end = await run.ended
    assert.deepEqual(end, {
      state: "failed",
      error: { error: "used up", code: "budget_exhausted", extra: { left: 3 } },
    })
    const got = await bench.chat.runs.get(bench.user.id, bench.agent, run.id)
    assert.deepEqual([got.state, got.error], ["failed", { error: "used up", code: "budget_exhausted" }])
    bench.runtime.script = async () => succeeded("ok")
    assert.equal((await (await bench.chat.submit(bench.say("b", { session: "s" }))).ended).state, "succeeded")
  })

  test("ending a user's runs resolves when they have stopped, and touches nobody else's", async () => {
    await using db = await open()
    await using bench = await openBench(db, { script: held().script })
    const mine = await bench.chat.submit(bench.say("a"))
    await using other = await openBench(db)
    const theirs = await bench.chat.submit({ ...bench.say("a"), user: other.user, agent: other.agent })
    await bench.chat.endUser(bench.user.id)
    assert.equal(mine.state, "ended")
    assert.equal(theirs.state, "running")
    await bench.chat.endAgent(other.agent)
    assert.equal(theirs.state, "ended")
  })

  test("a drain lets runs end, and stops at its deadline what does not", async () => {
    await using db = await open()
    const quick = held()
    await using bench = await openBench(db, { script: quick.script })
    const ends = await bench.chat.submit(bench.say("a"))
    const drained = bench.chat.drain(10_000)
    quick.release()
    await drained
    assert.equal((await ends.ended).state, "succeeded")

    await using second = await openBench(db, { script: held().script })
    const stays = await second.chat.submit(second.say("a"))
    await second.chat.drain(50)
    const end = await stays.ended
    assert.deepEqual(end, { state: "failed", error: { error: "the server was stopped", code: "unavailable" } })
    await until(async () => (await second.rows()).every((row) => row.state !== "running"), "the rows have ended")
  })

  test("an image that a tool brought is kept, shown to the model again, and refused messages leave none", async () => {
    await using db = await open()
    const bytes = new TextEncoder().encode("not really a picture")
    await using bench = await openBench(db, {
      async script(_spec, host) {
        host.onEvent({
          type: "message",
          message: { ...assistant(""), content: [{ type: "tool_call", id: "c", name: "read", arguments: {} }] },
        })
        const content = [{ type: "image" as const, mime_type: "image/png" as const, bytes }]
        const result = { v: 1, role: "tool", tool_call_id: "c", name: "read", content } as const
        host.onEvent({ type: "message", message: { ...result, content, is_error: false, duration_ms: 1 } })
        host.onEvent({ type: "message", message: assistant("a picture") })
        return succeeded("a picture")
      },
    })
    const folder = join(bench.dataDir, "users", bench.user.id, "attachments")
    await (await bench.chat.submit(bench.say("look", { session: "s" }))).ended
    await (await bench.chat.submit(bench.say("again", { session: "s" }))).ended
    const spec = bench.runtime.specs.at(-1)
    const tool = spec?.history.find(({ message }) => message.role === "tool")?.message
    assert.deepEqual(tool?.role === "tool" && tool.content.map((part) => part.type === "image" && part.bytes), [bytes])
    await until(async () => (await readdir(folder)).length === 1, "one file")

    await db.batch([{ query: db.kysely.updateTable("users").set({ state: "suspended" }) }])
    const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    const content = [{ type: "image" as const, mime_type: "image/png" as const, data: png }]
    const refused = bench.say("", { session: "s", messages: [{ role: "user", content }] })
    await assert.rejects(bench.chat.submit(refused), { code: "suspended" })
    await until(async () => (await readdir(folder)).length === 1, "the refused one is gone")
  })
})
