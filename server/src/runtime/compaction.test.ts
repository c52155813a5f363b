import assert from "node:assert/strict"
import { test } from "node:test"
import type { Message } from "@earendil-works/pi-ai"
import { type CompactionDeps, compact, MANY_MESSAGES } from "./compaction.ts"
import type { LoadedMessage } from "./convert.ts"

const user = (text: string): Message => ({ role: "user", content: text, timestamp: 0 })
const call = (id: string): Message => ({
  role: "assistant",
  content: [{ type: "toolCall", id, name: "bash", arguments: { command: "x" } }],
  api: "a",
  provider: "p",
  model: "m",
  usage: {
    input: 0,
    output: 0,
    cacheRead: 0,
    cacheWrite: 0,
    totalTokens: 0,
    cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 },
  },
  stopReason: "toolUse",
  timestamp: 0,
})
const result = (id: string, text: string): Message => ({
  role: "toolResult",
  toolCallId: id,
  toolName: "bash",
  content: [{ type: "text", text }],
  isError: false,
  timestamp: 0,
})
const loaded = (messages: Message[], known = messages.length): LoadedMessage[] =>
  messages.map((message, index) => ({ seq: index < known ? index + 1 : null, message }))

const asked: string[] = []
const deps: CompactionDeps = {
  contextWindow: 40_000,
  serialize: (messages) => messages.map((message) => message.role).join(" "),
  async summarize(prompt) {
    asked.push(prompt)
    return `summary ${asked.length}`
  },
}

test("the newest part stays, and never begins with the result of a call that is gone", async () => {
  const messages: Message[] = [user("go ".repeat(4000))]
  for (let i = 0; i < 12; i++) messages.push(call(`c${i}`), result(`c${i}`, "out ".repeat(1500)))
  const compacted = await compact(loaded(messages), deps)
  assert.ok(compacted)
  const [summary, first, ...rest] = compacted.messages.map(({ message }) => message)
  assert.match(JSON.stringify(summary?.content), /<summary>/)
  assert.equal(first?.role, "assistant")
  assert.ok(rest.length >= 1 && rest.length < 20)
  assert.equal(compacted.messages.length - 1 + compacted.coversToSeq, messages.length)
})

test("what this run added is covered too, but named by the last place that is known", async () => {
  const messages: Message[] = [
    user("go ".repeat(10_000)),
    user("more ".repeat(4000)),
    user("last ".repeat(4000)),
    user("end"),
  ]
  const compacted = await compact(loaded(messages, 1), deps)
  assert.equal(compacted?.coversToSeq, 1)
})

test("a conversation larger than the window is summarized in parts, each with the summary before it", async () => {
  asked.length = 0
  const compacted = await compact(
    loaded(Array.from({ length: 10 }, (_, i) => user(`${i} ${"word ".repeat(6000)}`))),
    deps,
  )
  assert.ok(compacted && asked.length > 3)
  assert.equal(compacted.summary, `summary ${asked.length}`)
  assert.ok(!asked[0]?.includes("<previous-summary>"))
  assert.ok(asked[1]?.includes("<previous-summary>\nsummary 1\n</previous-summary>"))
})

test("nothing is summarized where that would make no room", async () => {
  asked.length = 0
  assert.equal(await compact(loaded([user("hello"), user("again")]), deps), null)
  assert.equal(await compact(loaded([user("x".repeat(500_000))]), deps), null)
  const once = await compact(loaded([user("a ".repeat(20_000)), user("b ".repeat(20_000)), user("c")]), deps)
  assert.ok(once)
  const count = asked.length
  assert.equal(await compact(once.messages.slice(0, 1).concat(loaded([user("c")])), deps), null)
  assert.equal(asked.length, count)
})

test("a long conversation of short messages is made short too, once for many messages", async () => {
  const messages = Array.from({ length: MANY_MESSAGES + 1 }, (_, i) => user(`message ${i}`))
  const compacted = await compact(loaded(messages), deps)
  assert.ok(compacted)
  assert.equal(compacted.messages.length, 81)
  assert.equal(compacted.coversToSeq, MANY_MESSAGES + 1 - 80)
  assert.equal(await compact(compacted.messages, deps), null)
})
