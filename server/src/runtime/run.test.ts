import assert from "node:assert/strict"
import { test } from "node:test"
import { startAnthropicDouble } from "../../../test/doubles/anthropic.ts"
import { startOpenAiDouble } from "../../../test/doubles/openai.ts"
import type { RunPort } from "./border.ts"
import { createDemoBudget } from "./demo-model.ts"
import { loadPi } from "./pi/load.ts"
import type { Credentials, RunSpec } from "./protocol.ts"
import { executeRun } from "./run.ts"
import { DEFAULT_SETTINGS, type RuntimeSettings } from "./settings.ts"
import { runSpec, type TestHost, testHost, until, userMessage } from "./test-kit.ts"
import type { TranscriptMessage } from "./transcript.ts"

const pi = await loadPi()
const KEY = "sk-proj-platform-0123456789"

function credentials(baseUrl: string): Credentials {
  return { owner: "platform", apiKey: KEY, baseUrl, headers: {} }
}

function run(
  spec: RunSpec,
  host: TestHost,
  settings: Partial<RuntimeSettings> = {},
  signal = new AbortController().signal,
) {
  let lastCallId = 0
  const port: RunPort = {
    emit: (event) => host.onEvent(event),
    hands: host.hands,
    async reserve(request) {
      const callId = ++lastCallId
      return { callId, answer: await host.reserve(callId, request, signal) }
    },
    settle: (callId, usage) => host.settle(callId, usage),
  }
  const deps = {
    pi,
    settings: { ...DEFAULT_SETTINGS, retryBaseMs: 5, ...settings },
    demoBudget: createDemoBudget(() => 0),
  }
  return executeRun(spec, port, deps, signal)
}

const openAi = (url: string, text: string, changes: Partial<RunSpec> = {}) =>
  runSpec(text, { model: "openai/my-model", credentials: credentials(`${url}/v1`), ...changes })
const anthropic = (url: string, text: string, changes: Partial<RunSpec> = {}) =>
  runSpec(text, { model: "anthropic/claude-sonnet-4-5", credentials: credentials(url), ...changes })

test("an answer with a tool call goes through chat completions, with the provider's own count", async () => {
  await using double = await startOpenAiDouble()
  double.script([
    {
      text: "Let me look.",
      toolCalls: [{ name: "bash", arguments: { command: "ls" } }],
      usage: { input: 100, cacheRead: 20, output: 10 },
    },
    { text: "There is nothing.", usage: { input: 150, output: 5 } },
  ])
  const host = testHost()
  const outcome = await run(openAi(double.url, "What is here?", { maxOutputTokens: 777 }), host)
  assert.ok(outcome.type === "succeeded", JSON.stringify(outcome))
  assert.equal(outcome.text, "There is nothing.")
  assert.equal(outcome.stopReason, "end_turn")
  assert.deepEqual(host.commands, ["ls"])
  assert.equal(host.streamed(), "Let me look.There is nothing.")
  assert.deepEqual(
    double.requests.map(({ path, body }) => [path, body.max_tokens, body.model]),
    [
      ["/v1/chat/completions", 777, "my-model"],
      ["/v1/chat/completions", 777, "my-model"],
    ],
  )
  assert.equal(outcome.usage.input_tokens, 250)
  assert.equal(outcome.usage.cache_read_tokens, 20)
  assert.equal(outcome.usage.output_tokens, 15)
  assert.equal(outcome.usage.estimated, false)
  assert.deepEqual(
    host.messages().map((message) => message.role),
    ["assistant", "tool", "assistant"],
  )
})

test("a base URL without /v1 finds a server that has its API there", async () => {
  await using double = await startOpenAiDouble()
  double.script((request) => (request.path.startsWith("/v1/") ? { text: "Found." } : { error: { status: 404 } }))
  const outcome = await run(openAi("", "Hi", { credentials: credentials(double.url) }), testHost())
  assert.ok(outcome.type === "succeeded" && outcome.text === "Found.")
  assert.deepEqual(
    double.requests.map(({ path }) => path),
    ["/chat/completions", "/v1/chat/completions"],
  )
})

test("an answer with thinking and a tool call goes through Anthropic's messages, base URL with or without /v1", async () => {
  await using double = await startAnthropicDouble()
  for (const url of [double.url, `${double.url}/v1`, `${double.url}/`]) {
    double.script([
      { thinking: "hm hm", toolCalls: [{ name: "write", arguments: { path: "a", content: "b" } }] },
      { text: "Done." },
    ])
    const host = testHost()
    const outcome = await run(anthropic(url, "Write.", { thinking: "medium" }), host)
    assert.ok(outcome.type === "succeeded", JSON.stringify(outcome))
    assert.equal(outcome.text, "Done.")
    assert.ok(host.files.has("/work/a"))
    assert.ok(host.events.some((event) => event.type === "thinking.delta"))
  }
  const first = double.requests[0]
  assert.ok(first && first.body.max_tokens <= 8192)
  assert.equal(first.headers["x-api-key"], KEY)
})

test("a run of 20 tool steps reads at least 90 % of its input from the provider's cache", async () => {
  await using double = await startAnthropicDouble()
  double.script((_request, index) =>
    index < 20
      ? {
          text: `Step ${index}.`,
          toolCalls: [{ id: `toolu_${index}`, name: "bash", arguments: { command: `echo ${index}` } }],
        }
      : { text: "All done." },
  )
  const host = testHost({
    exec: async () => ({
      exitCode: 0,
      killed: null,
      output: "line of output\n".repeat(40),
      fullOutputPath: null,
      durationMs: 1,
    }),
  })
  const spec = anthropic(double.url, "Do twenty things.", { context: "Today is Monday." })
  spec.prompt.soul = "You are a careful agent. ".repeat(400)
  const outcome = await run(spec, host)
  assert.ok(outcome.type === "succeeded", JSON.stringify(outcome))
  assert.equal(double.requests.length, 21)
  const { input_tokens: input, cache_read_tokens: read, cache_write_tokens: written } = outcome.usage
  const share = read / (input + read + written)
  assert.ok(share >= 0.9, `only ${share} of the input was read from the cache`)
})

test("429, 5xx and broken streams are tried again before any text was sent on", async () => {
  await using double = await startOpenAiDouble()
  double.script([
    { error: { status: 429, message: "slow down", retryAfterSeconds: 0 } },
    { error: { status: 503, message: "busy" } },
    { text: "never seen", breakAfterEvents: 1 },
    { text: "At last." },
  ])
  const host = testHost()
  const outcome = await run(openAi(double.url, "Hi"), host)
  assert.ok(outcome.type === "succeeded", JSON.stringify(outcome))
  assert.equal(host.streamed(), "At last.")
  assert.equal(double.requests.length, 4)
  assert.equal(host.settled.size, 4)
  assert.deepEqual([...host.settled.values()].slice(0, 2), [null, null])
})

test("a stream that breaks after text was sent on ends the run with a clear error and an estimate", async () => {
  for (const start of [startOpenAiDouble, startAnthropicDouble]) {
    await using double = await start()
    double.script([{ text: "one two three four five six", breakAfterEvents: 6 }])
    const host = testHost()
    const spec = start === startOpenAiDouble ? openAi(double.url, "Hi") : anthropic(double.url, "Hi")
    const outcome = await run(spec, host)
    assert.ok(outcome.type === "failed")
    assert.equal(outcome.code, "failed_dependency")
    assert.equal(double.requests.length, 1)
    assert.match(host.streamed(), /^one two/)
    assert.equal(outcome.usage.estimated, true)
    assert.ok(outcome.usage.input_tokens > 0 && outcome.usage.output_tokens > 0)
  }
})

test("a refusal is told in the provider's words, without any key", async () => {
  await using double = await startOpenAiDouble()
  double.script([
    {
      error: {
        status: 401,
        message: `Incorrect API key provided: ${KEY}. Or sk-abcdef***wxyz?`,
        type: "invalid_api_key",
      },
    },
  ])
  const outcome = await run(openAi(double.url, "Hi"), testHost())
  assert.ok(outcome.type === "failed" && outcome.code === "failed_dependency")
  assert.match(outcome.message, /^openai refused \(401\): Incorrect API key provided: \[key\]/)
  assert.ok(!outcome.message.includes("sk-"))
  assert.equal(double.requests.length, 1)

  await using other = await startAnthropicDouble()
  other.script([{ error: { status: 400, message: "credit balance is too low" } }])
  const refused = await run(anthropic(other.url, "Hi"), testHost())
  assert.ok(refused.type === "failed")
  assert.equal(refused.message, "anthropic refused (400): credit balance is too low")
})

test("a provider that hangs is given up", async () => {
  await using double = await startAnthropicDouble()
  for (const [hang, reason] of [
    ["headers", /no answer within/],
    ["body", /silent for/],
  ] as const) {
    double.script([{ hang, text: "one two three" }])
    const outcome = await run(anthropic(double.url, "Hi"), testHost(), { headersTimeoutMs: 150, idleTimeoutMs: 150 })
    assert.ok(outcome.type === "failed" && outcome.code === "failed_dependency")
    assert.match(outcome.message, reason)
  }
  await until(() => double.requests.every((request) => request.aborted), "the connections are closed")
})

test("a cancel reaches the provider's connection long before its answer ends, and what was used is estimated", async () => {
  await using double = await startOpenAiDouble()
  double.script([{ text: "word ".repeat(1000), wordDelayMs: 5 }])
  const abort = new AbortController()
  const host = testHost()
  const running = run(openAi(double.url, "Hi"), host, {}, abort.signal)
  await until(() => host.streamed() !== "", "text")
  const started = performance.now()
  abort.abort()
  const outcome = await running
  await until(() => double.requests[0]?.aborted === true, "the connection is closed")
  // The answer goes on for five seconds.
  assert.ok(performance.now() - started < 500)
  assert.equal(outcome.type, "cancelled")
  assert.equal(outcome.usage.estimated, true)
  assert.ok(outcome.usage.output_tokens > 0)
})

test("a line without end and arguments that are too large cut the stream off", async () => {
  await using double = await startOpenAiDouble()
  double.script([{ lineOfBytes: 8 * 1024 * 1024 }])
  const endless = await run(openAi(double.url, "Hi"), testHost())
  assert.ok(endless.type === "failed")
  assert.match(endless.message, /a line of the answer is over the limit/)
  const content = "x".repeat(300 * 1024)
  double.script([{ toolCalls: [{ name: "write", arguments: { path: "a", content } }], argumentPieces: 20 }])
  const host = testHost()
  const large = await run(openAi(double.url, "Hi"), host)
  assert.ok(large.type === "failed")
  assert.match(large.message, /tool arguments are over the limit of 256 KiB/)
  assert.equal(host.files.size, 0)
})

test("max_turns ends a run that would go on for ever", async () => {
  await using double = await startOpenAiDouble()
  double.script(() => ({ toolCalls: [{ name: "bash", arguments: { command: "true" } }] }))
  const outcome = await run(openAi(double.url, "Go on", { maxTurns: 3 }), testHost())
  assert.ok(outcome.type === "succeeded")
  assert.equal(outcome.stopReason, "max_turns")
  assert.equal(double.requests.length, 3)
})

test("a call asks for no more than it was granted, and is reserved for more than it then takes", async () => {
  await using double = await startAnthropicDouble()
  let granted = 2000
  const host = testHost({ reserve: async () => ({ ok: true, maxTokens: granted }) })
  for (const thinking of ["off", "high", "high"] as const) {
    const outcome = await run(anthropic(double.url, "Hi", { thinking }), host)
    assert.ok(outcome.type === "succeeded")
    if (thinking === "high") granted = 4000
  }
  assert.deepEqual(
    double.requests.map(({ body }) => [body.max_tokens, body.thinking?.budget_tokens]),
    [
      [2000, undefined],
      [2000, undefined],
      [4000, 2000],
    ],
  )
  for (const [callId, request] of host.reserved) {
    const used = host.settled.get(callId)
    assert.ok(used && request.inputTokens >= used.input_tokens + used.cache_read_tokens + used.cache_write_tokens)
    assert.equal(request.maxTokens, 8192)
    assert.ok(request.price.output > 0)
  }
})

test("an overflow is handled by compacting and trying once more", async () => {
  await using double = await startAnthropicDouble()
  double.script((request) => {
    const text = JSON.stringify(request.body.messages)
    if (text.includes("Summarize the conversation")) return { text: "## Goal\nKeep going." }
    return text.includes("<summary>")
      ? { text: "Fine." }
      : { error: { status: 400, message: "prompt is too long: 250000 tokens > 200000 maximum" } }
  })
  const spec = anthropic(double.url, "And now?")
  spec.history = Array.from({ length: 40 }, (_, index) => ({
    seq: index + 1,
    message:
      index % 2 === 0
        ? userMessage(`Question ${index} ${"long ".repeat(1000)}`)
        : {
            v: 1 as const,
            role: "assistant" as const,
            model: null,
            content: [{ type: "text" as const, text: "Answer." }],
            stop_reason: "end_turn",
            usage: null,
          },
  }))
  spec.history.push({ seq: 41, message: userMessage("And now?") })
  const host = testHost()
  const outcome = await run(spec, host)
  assert.ok(outcome.type === "succeeded", JSON.stringify(outcome))
  assert.equal(outcome.text, "Fine.")
  const summary = host.messages()[0]
  assert.ok(summary?.role === "summary" && summary.covers_to_seq > 20 && summary.covers_to_seq < 41)
  assert.equal(host.streamed(), "Fine.")
  assert.equal(host.settled.size, host.reserved.size)
})

test("the responses form works too, with arguments in many pieces and stop words that its provider does not know", async () => {
  await using double = await startOpenAiDouble()
  const content = "line\n".repeat(2000)
  double.script([
    { toolCalls: [{ name: "write", arguments: { path: "a", content } }], argumentPieces: 7 },
    { text: "First part. STOP and never this." },
  ])
  const host = testHost()
  const spec = openAi(double.url, "Write.", { model: "xai/grok-4.6", stop: ["STOP"] })
  const outcome = await run(spec, host)
  assert.ok(outcome.type === "succeeded", JSON.stringify(outcome))
  assert.equal(double.requests[0]?.path, "/v1/responses")
  assert.equal(Buffer.from(host.files.get("/work/a") ?? "").toString(), content)
  assert.equal(outcome.text, "First part. ")
  assert.equal(outcome.stopReason, "stop_sequence")
  assert.equal(host.streamed(), "First part. ")
})

test("stop words go to the providers that know them", async () => {
  await using double = await startAnthropicDouble()
  await run(anthropic(double.url, "Hi", { stop: ["END"] }), testHost())
  assert.deepEqual(double.requests[0]?.body.stop_sequences, ["END"])
  await using other = await startOpenAiDouble()
  await run(openAi(other.url, "Hi", { stop: ["END"] }), testHost())
  assert.deepEqual(other.requests[0]?.body.stop, ["END"])
})

test("thinking and its signature go back to the model that made them, and to no other", async () => {
  await using double = await startAnthropicDouble()
  double.script([{ thinking: "secret thoughts", text: "One." }])
  const host = testHost()
  const spec = anthropic(double.url, "Think.", { thinking: "low" })
  await run(spec, host)
  const [answer] = host.messages()
  assert.ok(answer)
  const history = [...spec.history, { seq: 2, message: answer }, { seq: 3, message: userMessage("More.") }]
  await run({ ...spec, history }, testHost())
  assert.match(
    JSON.stringify(double.requests[1]?.body.messages),
    /"thinking":"secret thoughts","signature":"signature-of-double"/,
  )
  await run({ ...spec, history, model: "anthropic/claude-opus-4-5" }, testHost())
  const third = JSON.stringify(double.requests[2]?.body.messages)
  assert.ok(third.includes("One.") && !third.includes("secret thoughts"))
})

test("the context stands in the newest user message only", async () => {
  await using double = await startAnthropicDouble()
  const spec = anthropic(double.url, "x", { context: "Today is Monday." })
  spec.history = [
    { seq: 1, message: userMessage("Old.") },
    {
      seq: 2,
      message: {
        v: 1,
        role: "assistant",
        model: null,
        content: [{ type: "text", text: "Yes." }],
        stop_reason: "end_turn",
        usage: null,
      },
    },
    { seq: 3, message: userMessage("New.") },
  ]
  await run(spec, testHost())
  const { body } = double.requests[0] ?? assert.fail("not asked")
  assert.ok(!JSON.stringify(body.system).includes("Monday"))
  assert.deepEqual(
    body.messages.map((message) => JSON.stringify(message.content).includes("Monday")),
    [false, false, true],
  )
})

test("without the provider's count the usage is estimated and marked", async () => {
  await using double = await startOpenAiDouble()
  double.script([{ text: "Some words.", usage: false }])
  const outcome = await run(openAi(double.url, "Hi"), testHost())
  assert.ok(outcome.type === "succeeded")
  assert.ok(outcome.usage.estimated && outcome.usage.input_tokens > 0 && outcome.usage.output_tokens > 0)
})

test("a count that no call can have is not believed, so that it cannot spoil the sums or free of the limits", async () => {
  for (const usage of [
    { input: 1.5, output: 2.7 },
    { input: 10, output: -1_000_000 },
    { input: 1e18, output: 1 },
    { input: 1, output: 1e308 },
    { input: 1, cacheRead: 99_999_999 },
  ]) {
    await using double = await startOpenAiDouble()
    double.script([{ text: "Some words.", usage }])
    const outcome = await run(openAi(double.url, "Hi"), testHost())
    const { estimated, input_tokens, output_tokens, total_tokens } = outcome.usage
    assert.ok(estimated && input_tokens > 0 && output_tokens > 0, JSON.stringify(usage))
    assert.ok(Number.isInteger(total_tokens) && total_tokens < 100_000, JSON.stringify(usage))
  }
})

test("what a call cost is reckoned by the catalogue's price", async () => {
  await using double = await startAnthropicDouble()
  double.script([{ text: "Hi", usage: { input: 1e6, output: 1e6, cacheRead: 1e6, cacheWrite: 1e6 } }])
  const host = testHost()
  const outcome = await run(anthropic(double.url, "Hi"), host)
  const { price } = [...host.reserved.values()][0] ?? assert.fail("not reserved")
  assert.ok(Math.abs(outcome.usage.cost_usd - (price.input + price.output + price.cacheRead + price.cacheWrite)) < 1e-6)
})

test("a conversation near the end of its window is compacted before the call", async () => {
  await using double = await startAnthropicDouble()
  double.script((request) =>
    JSON.stringify(request.body.messages).includes("Summarize the conversation")
      ? { text: "## Goal\nTalk." }
      : { text: "Fine." },
  )
  const spec = anthropic(double.url, "x", { model: "anthropic/claude-haiku-4-5" })
  spec.history = Array.from({ length: 21 }, (_, i) => ({
    seq: i + 1,
    message:
      i % 2 === 0
        ? userMessage(`Question ${i}: ${"some words ".repeat(4000)}`)
        : {
            v: 1 as const,
            role: "assistant" as const,
            model: null,
            content: [{ type: "text" as const, text: `Answer ${"x y ".repeat(8000)}` }],
            stop_reason: "end_turn",
            usage: null,
          },
  }))
  const host = testHost()
  const outcome = await run(spec, host)
  assert.ok(outcome.type === "succeeded" && outcome.text === "Fine.", JSON.stringify(outcome))
  assert.deepEqual(
    host.messages().map((message) => message.role),
    ["summary", "assistant"],
  )
  const last = double.requests.at(-1)?.body.messages ?? []
  assert.match(JSON.stringify(last[0]), /<summary>/)
  assert.match(JSON.stringify(last.at(-1)), /Question 20/)
})

test("the next message of a session reads what came before it from the provider's cache", async () => {
  await using double = await startAnthropicDouble()
  double.script((_request, index) =>
    index % 3 === 2
      ? { text: `Done ${index}. ${"words ".repeat(200)}` }
      : { toolCalls: [{ id: `t${index}`, name: "bash", arguments: { command: "x" } }] },
  )
  const history: RunSpec["history"] = []
  const add = (message: TranscriptMessage) => history.push({ seq: history.length + 1, message })
  const shares: number[] = []
  for (let turn = 0; turn < 6; turn++) {
    add(userMessage(`Message ${turn}: ${"please do this and that ".repeat(100)}`))
    const spec = anthropic(double.url, "", { context: `It is minute ${turn}.` })
    spec.prompt.soul = "You are a careful agent. ".repeat(300)
    const host = testHost()
    const first = double.requests.length
    const outcome = await run({ ...spec, history: structuredClone(history) }, host)
    assert.equal(outcome.type, "succeeded")
    for (const message of host.messages()) add(message)
    const used = [...host.settled.values()][0] ?? assert.fail("not settled")
    shares.push(used.cache_read_tokens / (used.input_tokens + used.cache_read_tokens + used.cache_write_tokens))
    const marks = JSON.stringify(double.requests[first]?.body).split('"cache_control"').length - 1
    assert.ok(marks <= 4, "Anthropic takes four marks at most")
  }
  assert.ok(
    shares.slice(2).every((share) => share > 0.6),
    `shares read: ${shares.map((share) => share.toFixed(2))}`,
  )
  assert.ok((shares.at(-1) ?? 0) > 0.75)
})
