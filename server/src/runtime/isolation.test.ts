import assert from "node:assert/strict"
import { test } from "node:test"
import { startOpenAiDouble } from "../../../test/doubles/openai.ts"
import { createByteGate } from "../lib/byte-gate.ts"
import { startRuntime } from "./start-runtime.ts"
import { runSpec, testHost, until, userMessage } from "./test-kit.ts"

const faulty = new URL("./faulty-worker.ts", import.meta.url)
/** So that one run is under way, with a command, while another breaks its thread. */
const never = (_request: unknown, _onOutput: unknown, signal: AbortSignal) =>
  new Promise<never>((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("aborted"))))

for (const [model, options] of [
  ["faulty/stuck", { watchdogMs: 2000 }],
  ["faulty/out-of-memory", { heapMb: 64 }],
] as const) {
  test(`${model}: the thread ends alone, its runs are failed as crashed, and the next one works`, async () => {
    const logged: string[] = []
    await using runtime = startRuntime({
      workers: 1,
      entry: faulty,
      log: (_level, text) => logged.push(text),
      ...options,
    })
    runtime.start()
    const bystander = testHost({ exec: never })
    const other = runtime.run(runSpec('/tool bash {"command":"x"}'), bystander)
    await until(() => bystander.commands.length === 1, "a command runs")

    const outcome = await runtime.run(runSpec("x", { model }), testHost()).outcome
    assert.ok(outcome.type === "failed" && outcome.code === "crashed")
    const lost = await other.outcome
    assert.ok(lost.type === "failed" && lost.code === "crashed")
    assert.ok(lost.usage.total_tokens > 0, "what was settled before counts")
    assert.equal(bystander.settled.size, bystander.reserved.size)
    await until(() => logged.some((text) => /worker 0 ended/.test(text)), "the log says so")

    const next = await runtime.run(runSpec("Hello"), testHost()).outcome
    assert.equal(next.type, "succeeded")
  })
}

const largePicture = () => [
  { seq: 1, message: userMessage("Hello") },
  {
    seq: 2,
    message: {
      v: 1 as const,
      role: "user" as const,
      content: [{ type: "image" as const, mime_type: "image/png" as const, bytes: new Uint8Array(1_200_000) }],
    },
  },
]

test("a run with large pictures has a thread of its own: what it does there holds up no other run", async () => {
  await using runtime = startRuntime({ workers: 1, entry: faulty, watchdogMs: 60_000, log: () => {} })
  runtime.start()
  const large = runSpec("x", { model: "faulty/stuck", history: largePicture() })
  let ended = false
  void runtime.run(large, testHost()).outcome.then(() => {
    ended = true
  })
  assert.equal((await runtime.run(runSpec("Hello"), testHost()).outcome).type, "succeeded")
  assert.equal(ended, false)
})

test("the thread for large pictures goes when there are none, and comes again", async () => {
  await using runtime = startRuntime({ workers: 1, heavyIdleMs: 0, log: () => {} })
  runtime.start()
  const threads = () => Object(process.report.getReport()).workers.length
  for (let round = 0; round < 2; round++) {
    const { type } = await runtime.run(runSpec("x", { history: largePicture() }), testHost()).outcome
    assert.equal(type, "succeeded")
    await until(() => threads() === 1, "the one thread that stays")
  }
})

test("a thread whose own code cannot be loaded says so at once, and goes on with runs", async () => {
  const logged: string[] = []
  const entry = new URL("./broken-worker.ts", import.meta.url)
  await using runtime = startRuntime({ workers: 1, entry, log: (_level, text) => logged.push(text) })
  runtime.start()
  const credentials = { owner: "user", apiKey: "key-12345678", baseUrl: null, headers: {} } as const
  await assert.rejects(runtime.catalogue(), /runtime worker failed/)
  await assert.rejects(runtime.testModel("openai/x", credentials), /runtime worker failed/)
  assert.ok(
    logged.some((text) => /test of openai\/x failed: .*cannot be read/s.test(text)),
    logged.join("\n"),
  )
  assert.equal((await runtime.run(runSpec("Hello"), testHost()).outcome).type, "succeeded")
})

test("a run that was never begun ends when the server stops", async () => {
  const runtime = startRuntime({ workers: 1, log: () => {} })
  const waiting = runtime.run(runSpec("Hello"), testHost())
  await runtime[Symbol.asyncDispose]()
  const outcome = await waiting.outcome
  assert.ok(outcome.type === "failed" && outcome.code === "unavailable")
})

test("a user's histories beyond the limit wait their turn, and hold up nobody else", async () => {
  await using double = await startOpenAiDouble()
  double.script(() => ({ text: "ok", delayMs: 50 }))
  await using runtime = startRuntime({ workers: 1, bytesPerUser: 1_000_000, log: () => {} })
  runtime.start()
  const large = (userId: string) =>
    runSpec("x", {
      userId,
      model: "openai/x",
      credentials: { owner: "platform", apiKey: "key-12345678", baseUrl: double.url, headers: {} },
      history: [{ seq: 1, message: userMessage("y".repeat(600_000)) }],
    })
  const order: string[] = []
  const start = (name: string, userId: string) =>
    runtime.run(large(userId), testHost()).outcome.then((outcome) => order.push(`${name} ${outcome.type}`))
  const all = [start("a1", "a"), start("a2", "a"), start("b1", "b")]
  const cancelled = runtime.run(large("a"), testHost())
  cancelled.cancel()
  assert.equal((await cancelled.outcome).type, "cancelled")
  await Promise.all(all)
  assert.equal(order.at(-1), "a2 succeeded")
  assert.equal(order.length, 3)
})

test("admission is fair: first come, first served, without holding up those who have room", () => {
  const admission = createByteGate({ bytesPerUser: 10, bytesInAll: 15 })
  const log: string[] = []
  const enter = (user: string, bytes: number, name: string) => admission.enter(user, bytes, () => log.push(name))
  const a1 = enter("a", 8, "a1")
  const a2 = enter("a", 8, "a2")
  const a3 = enter("a", 1, "a3")
  const b1 = enter("b", 7, "b1")
  assert.deepEqual(log, ["a1", "b1"], "a3 has room but came after a2")
  a2()
  assert.deepEqual(log, ["a1", "b1"], "no room in all")
  b1()
  assert.deepEqual(log, ["a1", "b1", "a3"])
  a1()
  a3()
  enter("c", 99, "larger than all limits, but alone")
  assert.equal(log.length, 4)
})

test("hostile answers of one tenant's provider leave another's run alone", async () => {
  await using bad = await startOpenAiDouble()
  await using good = await startOpenAiDouble()
  bad.script(
    (_request, index) =>
      [
        { lineOfBytes: 64 * 1024 * 1024 },
        { toolCalls: [{ name: "write", arguments: { path: "a", content: "x".repeat(250_000) } }], argumentPieces: 100 },
        { endlessBytes: 1024 * 1024, text: "w ".repeat(100) },
      ][index % 3] ?? {},
  )
  await using runtime = startRuntime({ workers: 1, log: () => {} })
  runtime.start()
  const spec = (url: string, userId: string) =>
    runSpec("x", {
      userId,
      model: "openai/x",
      maxTurns: 2,
      credentials: { owner: "platform", apiKey: "key-12345678", baseUrl: url, headers: {} },
    })
  const attacks = Array.from({ length: 3 }, () => runtime.run(spec(bad.url, "bad"), testHost()).outcome)
  for (let i = 0; i < 5; i++) {
    const outcome = await runtime.run(spec(good.url, "good"), testHost()).outcome
    assert.ok(outcome.type === "succeeded" && outcome.text === "OK")
  }
  for (const outcome of await Promise.all(attacks)) {
    assert.ok(
      outcome.type === "succeeded" || (outcome.type === "failed" && outcome.code === "failed_dependency"),
      JSON.stringify(outcome),
    )
  }
})
