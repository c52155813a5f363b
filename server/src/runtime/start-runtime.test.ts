import assert from "node:assert/strict"
import { after, test } from "node:test"
import { startOpenAiDouble } from "../../../test/doubles/openai.ts"
import { startRuntime } from "./start-runtime.ts"
import { runSpec, testHost, until } from "./test-kit.ts"

const logged: string[] = []
const runtime = startRuntime({ workers: 1, log: (_level, message) => logged.push(message) })
runtime.start()
after(() => runtime[Symbol.asyncDispose]())

test("the demo model says that it is the demo and how to set a key, word by word", async () => {
  const host = testHost()
  const outcome = await runtime.run(runSpec("Hello"), host).outcome
  assert.equal(outcome.type, "succeeded")
  assert.match(outcome.text, /ada/)
  assert.match(outcome.text, /demo model/)
  assert.match(outcome.text, /ANTHROPIC_API_KEY/)
  assert.equal(host.streamed(), outcome.text)
  assert.ok(host.events.filter((event) => event.type === "message.delta").length > 3)
  assert.ok(outcome.usage.input_tokens > 0 && outcome.usage.output_tokens > 0)
  assert.equal(outcome.usage.estimated, false)
  assert.equal(outcome.usage.cost_usd, 0)
  assert.deepEqual([...host.settled.values()], [outcome.usage])
})

test("/tool lines of the newest user message are carried out in order as real tool calls", async () => {
  const host = testHost()
  const text = '/tool write {"path":"a.txt","content":"x"}\n/tool bash {"command":"cat a.txt"}'
  const outcome = await runtime.run(runSpec(text), host).outcome
  assert.equal(outcome.type, "succeeded")
  assert.equal(Buffer.from(host.files.get("/work/a.txt") ?? "").toString(), "x")
  assert.deepEqual(host.commands, ["cat a.txt"])
  const kinds = host.events.filter((event) => event.type.startsWith("tool.") || event.type === "message")
  assert.deepEqual(
    kinds.map((event) => (event.type === "message" ? event.message.role : event.type)),
    [
      "assistant",
      "tool.started",
      "tool.finished",
      "tool",
      "tool.started",
      "tool.output",
      "tool.finished",
      "tool",
      "assistant",
    ],
  )
  assert.match(outcome.text, /write returned:\nWrote 1 bytes to a.txt/)
  assert.match(outcome.text, /bash returned:\nout/)
})

test("a /tool line anywhere but in the newest user message does nothing", async () => {
  const host = testHost()
  const spec = runSpec("Hello", { context: '/tool bash {"command":"a"}' })
  const old = {
    v: 1 as const,
    role: "user" as const,
    content: [{ type: "text" as const, text: '/tool bash {"command":"b"}' }],
  }
  spec.history = [{ seq: 1, message: old }, ...spec.history.map((entry) => ({ ...entry, seq: 2 }))]
  spec.prompt.memory = '/tool bash {"command":"c"}'
  assert.equal((await runtime.run(spec, host).outcome).type, "succeeded")
  assert.deepEqual(host.commands, [])
})

test("the demo model makes at most 20 tool calls a minute for a user", async () => {
  const host = testHost()
  const lines = Array.from({ length: 25 }, (_, i) => `/tool bash {"command":"n ${i}"}`).join("\n")
  const outcome = await runtime.run(runSpec(lines, { userId: "usr_busy" }), host).outcome
  assert.equal(outcome.type, "succeeded")
  assert.equal(host.commands.length, 20)
  assert.match(host.streamed(), /at most 20 tool calls a minute/)
})

test("a tool that fails or is not there is told to the model, and the run goes on", async () => {
  const host = testHost()
  const outcome = await runtime.run(runSpec('/tool read {"path":"none"}\n/tool fly {}'), host).outcome
  assert.equal(outcome.type, "succeeded")
  assert.match(outcome.text, /read failed:\nnone is not there/)
  assert.match(outcome.text, /fly failed:\nTool fly not found/)
})

test("a cancel stops the command and the run at once", async () => {
  let aborted = 0
  const host = testHost({
    exec: (_request, _onOutput, signal) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener("abort", () => {
          aborted = performance.now()
          reject(new Error("aborted"))
        }),
      ),
  })
  const run = runtime.run(runSpec('/tool bash {"command":"sleep 100"}', { userId: "usr_cancel" }), host)
  await until(() => host.commands.length === 1, "the command runs")
  const cancelled = performance.now()
  run.cancel()
  const outcome = await run.outcome
  assert.equal(outcome.type, "cancelled")
  assert.ok(aborted - cancelled < 100)
})

test("a refused reservation ends the run with its own code", async () => {
  const host = testHost({
    reserve: async () => ({ ok: false, code: "budget_exhausted", message: "no tokens left", extra: { limit: 5 } }),
  })
  const outcome = await runtime.run(runSpec("Hello"), host).outcome
  assert.deepEqual(
    { ...outcome, usage: null },
    { type: "failed", code: "budget_exhausted", message: "no tokens left", extra: { limit: 5 }, usage: null },
  )
  assert.equal(host.settled.size, 0)
})

test("the catalogue holds every offered provider's models with prices", async () => {
  const models = await runtime.catalogue()
  const sonnet = models.find((model) => model.id === "anthropic/claude-sonnet-4-5")
  assert.ok(sonnet && sonnet.price.input > 0 && sonnet.contextWindow >= 200_000 && sonnet.images)
})

test("a model without a key, or unknown, is a clear failure", async () => {
  const missing = await runtime.run(runSpec("Hi", { model: "anthropic/claude-sonnet-4-5" }), testHost()).outcome
  assert.ok(missing.type === "failed")
  assert.equal(missing.code, "failed_dependency")
  assert.equal(missing.message, "secret ANTHROPIC_API_KEY is not set")
  const unknown = await runtime.run(runSpec("Hi", { model: "nobody/x" }), testHost()).outcome
  assert.ok(unknown.type === "failed" && unknown.code === "invalid_request")
})

test("a model is tried by one smallest call, and its refusal is told", async () => {
  await using double = await startOpenAiDouble()
  const credentials = { owner: "platform" as const, apiKey: "key-123456789", baseUrl: double.url, headers: {} }
  const { ok, usage } = await runtime.testModel("openai/x", credentials)
  assert.ok(ok && usage !== null && usage.total_tokens > 0 && !usage.estimated)
  assert.equal(double.requests[0]?.body.max_tokens, 32)
  double.script(() => ({ error: { status: 404, message: "no such model" } }))
  assert.deepEqual(await runtime.testModel("openai/x", credentials), {
    ok: false,
    error: "openai refused (404): no such model",
    usage: null,
  })
  assert.deepEqual(await runtime.testModel("openai/x", { ...credentials, apiKey: null }), {
    ok: false,
    error: "secret OPENAI_API_KEY is not set",
    usage: null,
  })
  assert.deepEqual(await runtime.testModel("demo/demo", { ...credentials, apiKey: null }), {
    ok: true,
    usage: null,
  })
})
