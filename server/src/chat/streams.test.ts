import assert from "node:assert/strict"
import { test } from "node:test"
import { forEachDatabase } from "../../../test/databases.ts"
import { until } from "../../../test/until.ts"
import type { Sink } from "./readers.ts"
import { assistant, type Bench, held, openBench, type Script, succeeded } from "./test-kit.ts"

interface Reader extends Sink {
  events: { id: number | null; event: string; data: unknown }[]
  over: boolean
  leave(): void
  names(): string[]
}

/** A reader that keeps what it got. */
function reader(): Reader {
  const gone = new AbortController()
  const made: Reader = {
    events: [],
    over: false,
    closed: gone.signal,
    send: (id, event, data) => void made.events.push({ id, event, data }),
    drained: async () => {},
    close() {
      made.over = true
      gone.abort()
    },
    leave: () => gone.abort(),
    names: () => made.events.map(({ event }) => event),
  }
  return made
}

const text = ({ events }: Reader) =>
  events
    .filter(({ event }) => event === "message.delta")
    .map(({ data }) => (data as { delta: string }).delta)
    .join("")

/** Two messages with a tool call between them, in steps that the test lets go one by one. */
function stepped(): { script: Script; next(): Promise<void> } {
  const gates = Array.from({ length: 20 }, () => Promise.withResolvers<void>())
  const passed = Array.from({ length: 20 }, () => Promise.withResolvers<void>())
  let opened = 0
  return {
    async next() {
      const at = opened++
      gates[at]?.resolve()
      await passed[at]?.promise
    },
    async script(_spec, host, signal) {
      let at = 0
      const step = async (work: () => void) => {
        const gone = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }))
        await Promise.race([gates[at]?.promise, gone])
        if (!signal.aborted) work()
        passed[at++]?.resolve()
      }
      await step(() => host.onEvent({ type: "message.delta", delta: "Let me " }))
      await step(() => host.onEvent({ type: "message.delta", delta: "look. " }))
      await step(() => {
        host.onEvent({ type: "message", message: assistant("Let me look. ") })
        host.onEvent({ type: "tool.started", id: "c1", name: "bash", arguments: { command: "ls" } })
      })
      await step(() => host.onEvent({ type: "tool.output", id: "c1", delta: "a.txt\n" }))
      await step(() =>
        host.onEvent({ type: "tool.finished", id: "c1", isError: false, durationMs: 3, result: "a.txt\n" }),
      )
      await step(() => host.onEvent({ type: "message.delta", delta: "There is " }))
      await step(() => host.onEvent({ type: "message.delta", delta: "one file." }))
      await step(() => host.onEvent({ type: "message", message: assistant("There is one file.") }))
      return signal.aborted
        ? { type: "cancelled", usage: assistant("").usage ?? succeeded("").usage }
        : succeeded("There is one file.")
    },
  }
}

const follow = (bench: Bench, runId: string, after: number, sink: Reader) =>
  bench.chat.runs.follow(bench.user.id, bench.agent, runId, after, () => sink)

forEachDatabase((_name, open) => {
  test("a reader gets every event in order, under ids that count up, and last the answer of `chat`", async () => {
    await using db = await open()
    const steps = stepped()
    await using bench = await openBench(db, { script: steps.script })
    const run = await bench.chat.submit(bench.say("x", { session: "s", patience: { resumeSeconds: 30 } }))
    const live = reader()
    const following = bench.chat.runs.followOwn(run, live)
    for (let i = 0; i < 8; i++) await steps.next()
    await following
    assert.deepEqual(live.names(), [
      "run.started",
      "message.delta",
      "message.delta",
      "tool.started",
      "tool.output",
      "tool.finished",
      "message.delta",
      "message.delta",
      "done",
    ])
    const ids = live.events.map(({ id }) => id ?? 0)
    assert.deepEqual(
      ids,
      ids.toSorted((a, b) => a - b),
    )
    assert.equal(new Set(ids).size, ids.length)
    assert.ok(live.over)
    const end = await run.ended
    assert.ok(end.state === "succeeded")
    assert.deepEqual(live.events.at(-1)?.data, end.answer)
    assert.deepEqual(end.answer.tool_calls, [
      { id: "c1", name: "bash", arguments: { command: "ls" }, is_error: false, duration_ms: 3, result: "a.txt\n" },
    ])
  })

  test("a reader who comes back within the ring gets exactly what was missed", async () => {
    await using db = await open()
    const steps = stepped()
    await using bench = await openBench(db, { script: steps.script })
    const run = await bench.chat.submit(bench.say("x", { patience: { resumeSeconds: 30 } }))
    const whole = reader()
    const first = reader()
    const all = bench.chat.runs.followOwn(run, whole)
    const cut = bench.chat.runs.followOwn(run, first)
    await steps.next()
    await steps.next()
    first.leave()
    await cut
    for (let i = 0; i < 4; i++) await steps.next()
    const second = reader()
    const rest = follow(bench, run.id, first.events.at(-1)?.id ?? 0, second)
    for (let i = 0; i < 2; i++) await steps.next()
    await Promise.all([all, rest])
    assert.deepEqual([...first.events, ...second.events], whole.events)
  })

  test("a reader who comes too late for the ring gets the boundaries and one snapshot, then what comes", async () => {
    await using db = await open()
    const steps = stepped()
    await using bench = await openBench(db, { script: steps.script })
    const run = await bench.chat.submit(bench.say("x", { patience: null }))
    for (let i = 0; i < 6; i++) await steps.next()
    // So much output that the ring has let go of what was before.
    for (let i = 0; i < 400; i++) run.feed.publish("tool.output", { id: "c1", delta: "x".repeat(1000) })
    const late = reader()
    const following = follow(bench, run.id, 0, late)
    await until(
      () => late.names().includes("message.snapshot") && late.names().at(-1) === "message.snapshot",
      "replayed",
    )
    await steps.next()
    await steps.next()
    await following
    assert.deepEqual(late.names(), [
      "run.started",
      "message.snapshot",
      "tool.started",
      "tool.finished",
      "message.snapshot",
      "message.delta",
      "done",
    ])
    assert.deepEqual(late.events[1]?.data, { text: "Let me look. ", thinking: "" })
    assert.deepEqual(late.events[4]?.data, { text: "There is ", thinking: "" })
    assert.equal(text(late), "one file.")
    const ids = late.events.map(({ id }) => id ?? 0)
    assert.deepEqual(
      ids,
      ids.toSorted((a, b) => a - b),
    )
  })

  test("a run that has ended can be read again: boundaries in order, then its end", async () => {
    await using db = await open()
    const steps = stepped()
    await using bench = await openBench(db, { script: steps.script })
    const run = await bench.chat.submit(bench.say("x", { patience: null }))
    for (let i = 0; i < 8; i++) await steps.next()
    await run.ended
    await using again = await openBench(db, { like: bench })
    const late = reader()
    await follow(again, run.id, 0, late)
    assert.deepEqual(late.names(), [
      "run.started",
      "message.snapshot",
      "tool.started",
      "tool.finished",
      "message.snapshot",
      "done",
    ])
    const rest = reader()
    await follow(again, run.id, late.events[2]?.id ?? 0, rest)
    assert.deepEqual(rest.events, late.events.slice(3))
    const nothing = reader()
    await follow(again, run.id, late.events.at(-1)?.id ?? 0, nothing)
    assert.deepEqual(nothing.events, [])
    assert.ok(nothing.over)
    again.time.now += 24 * 3600_000 + 1000
    await assert.rejects(follow(again, run.id, 0, reader()), { code: "not_found" })
  })

  test("a stream's run is cancelled only when its last reader has been gone for as long as was agreed", async () => {
    await using db = await open()
    const one = held()
    await using bench = await openBench(db, { script: one.script })
    const run = await bench.chat.submit(bench.say("x", { patience: { resumeSeconds: 0 } }))
    const a = reader()
    const b = reader()
    const following = [bench.chat.runs.followOwn(run, a), bench.chat.runs.followOwn(run, b)]
    a.leave()
    await one.started
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(run.state, "running")
    b.leave()
    assert.equal((await run.ended).state, "cancelled")
    await Promise.all(following)

    bench.runtime.script = held().script
    const patient = await bench.chat.submit(bench.say("x", { patience: { resumeSeconds: 300 } }))
    const c = reader()
    const gone = bench.chat.runs.followOwn(patient, c)
    c.leave()
    await gone
    const back = reader()
    const returned = follow(bench, patient.id, 0, back)
    patient.cancel()
    await returned
    assert.deepEqual(back.names(), ["run.started", "error"])
    assert.deepEqual(back.events[1]?.data, { error: "the run was cancelled", code: "cancelled" })
  })

  test("a run in the background needs no reader", async () => {
    await using db = await open()
    const one = held()
    await using bench = await openBench(db, { script: one.script })
    const run = await bench.chat.submit(bench.say("x", { patience: null }))
    const a = reader()
    const following = bench.chat.runs.followOwn(run, a)
    a.leave()
    await following
    one.release()
    assert.equal((await run.ended).state, "succeeded")
  })

  test("a reset voids what was shown; a late reader never sees it", async () => {
    await using db = await open()
    const gate = Promise.withResolvers<void>()
    await using bench = await openBench(db, {
      async script(_spec, host) {
        host.onEvent({ type: "message.delta", delta: "wrong" })
        host.onEvent({ type: "message.reset", reason: "the connection broke" })
        await gate.promise
        host.onEvent({ type: "message.delta", delta: "right" })
        host.onEvent({ type: "message", message: assistant("right") })
        return succeeded("right")
      },
    })
    const run = await bench.chat.submit(bench.say("x", { patience: null }))
    await until(() => run.feed.lastId >= 3, "the reset")
    for (let i = 0; i < 400; i++) run.feed.publish("tool.output", { id: "c1", delta: "x".repeat(1000) })
    const late = reader()
    const following = follow(bench, run.id, 2, late)
    await until(() => late.events.length > 0, "the snapshot")
    gate.resolve()
    await following
    assert.deepEqual(late.names(), ["message.snapshot", "message.delta", "done"])
    assert.deepEqual(late.events[0]?.data, { text: "", thinking: "" })
  })

  test("a run under way when the server died is failed at the next start; its events end with the error", async () => {
    await using db = await open()
    const steps = stepped()
    const one = await openBench(db, { script: steps.script })
    const run = await one.chat.submit(one.say("x", { session: "s", patience: null }))
    const queued = await one.chat.submit(one.say("y", { session: "s", patience: null }))
    const seen = reader()
    void one.chat.runs.followOwn(run, seen)
    for (let i = 0; i < 4; i++) await steps.next()
    await run.flushed()

    // Another boot of the same server: what the first one still tries to write is void.
    await using two = await openBench(db, { like: one })
    await two.chat.recover()
    for (const id of [run.id, queued.id]) {
      const got = await two.chat.runs.get(two.user.id, two.agent, id)
      assert.deepEqual([got.state, got.error], ["failed", { error: "the server was restarted", code: "crashed" }])
      assert.notEqual(got.finished_at, null)
    }
    const replay = reader()
    await follow(two, run.id, 0, replay)
    assert.deepEqual(replay.names(), ["run.started", "message.snapshot", "tool.started", "error"])
    const last = replay.events.at(-1)
    assert.ok((last?.id ?? 0) > (seen.events.at(-1)?.id ?? 0))
    const resumed = reader()
    await follow(two, run.id, seen.events.at(-1)?.id ?? 0, resumed)
    assert.deepEqual(resumed.events, [last])

    for (let i = 0; i < 4; i++) await steps.next()
    const end = await run.ended
    assert.deepEqual(end, { state: "failed", error: { error: "the server was restarted", code: "crashed" } })
    await one[Symbol.asyncDispose]()
    const after = await two.chat.runs.get(two.user.id, two.agent, run.id)
    assert.equal(after.state, "failed")
    const next = await two.chat.submit(two.say("z", { session: "s" }))
    assert.equal((await next.ended).state, "succeeded")
    const { messages } = await two.chat.sessions.read(two.user.id, two.agent, "s", { limit: 10 })
    assert.deepEqual(
      messages.map(({ role }) => role),
      ["user", "assistant", "user", "assistant"],
    )
  })

  test("events are removed a day after a run's end, and nothing else is", async () => {
    await using db = await open()
    const { createRetention } = await import("./retention.ts")
    await using bench = await openBench(db)
    const old = await bench.chat.submit(bench.say("x", { session: "s" }))
    await old.ended
    bench.time.now += 24 * 3600_000 + 1
    const young = await bench.chat.submit(bench.say("y", { session: "s" }))
    await young.ended
    await using retention = createRetention(
      db,
      { now: () => bench.time.now },
      (await import("../lib/log.ts")).silentLogger,
    )
    await retention.sweep()
    const left = await db.kysely.selectFrom("run_events").select("run_id").distinct().execute()
    assert.deepEqual(
      left.map((row) => row.run_id),
      [young.id],
    )
    assert.equal((await bench.chat.runs.get(bench.user.id, bench.agent, old.id)).state, "succeeded")
    bench.time.now += 24 * 3600_000 + 1
    await retention.sweep()
    assert.deepEqual(await db.kysely.selectFrom("run_events").selectAll().execute(), [])
  })
})
