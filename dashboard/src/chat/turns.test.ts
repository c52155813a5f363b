import assert from "node:assert/strict"
import { test } from "node:test"
import type { SessionMessage, StreamEvent } from "@autonomis/contract/chat.ts"
import { splitBlocks } from "./blocks.ts"
import { applyEvent, NOTHING_YET, type Part, turnsOf } from "./turns.ts"

const time = "2026-03-01T09:30:00.000Z"
const message = (id: string, role: SessionMessage["role"], content: SessionMessage["content"]): SessionMessage => ({
  ...{ id, role, content, tool_calls: [], model: null, usage: null, run_id: "run_1", created_at: time },
})
const started: StreamEvent = { event: "run.started", data: { run_id: "run_1", agent: "a", session: "s" } }
const delta = (text: string): StreamEvent => ({ event: "message.delta", data: { delta: text } })
const tool: StreamEvent[] = [
  { event: "tool.started", data: { id: "t", name: "bash", arguments: { command: "ls" } } },
  { event: "tool.output", data: { id: "t", delta: "a\n" } },
  { event: "tool.finished", data: { id: "t", is_error: false, duration_ms: 5, result: "a\n" } },
]
const play = (...events: StreamEvent[]) => events.reduce(applyEvent, NOTHING_YET)
const texts = (parts: readonly Part[]) => parts.map((part) => (part.kind === "tool" ? part.id : part.text))

test("deltas grow one text, a tool stands between two", () => {
  const { parts } = play(started, delta("Let me "), delta("look."), ...tool, delta("Done."))
  assert.deepEqual(texts(parts), ["Let me look.", "t", "Done."])
})

test("a snapshot replaces what was shown since the last boundary, and nothing before it", () => {
  const snapshot: StreamEvent = { event: "message.snapshot", data: { text: "whole", thinking: "hm" } }
  const { parts } = play(started, delta("first"), ...tool, delta("par"), snapshot)
  assert.deepEqual(texts(parts), ["first", "t", "hm", "whole"])
})

test("a tool's images are shown with its call, live and from the store", () => {
  const images = [{ message_id: "m3", mime_type: "image/png", hash: "abc" }]
  const live = play(started, ...tool, { event: "tool.images", data: { id: "t", images } })
  const call = { id: "t", name: "read", arguments: {}, is_error: false, duration_ms: 1, result: "" }
  const stored = turnsOf([{ ...message("m2", "assistant", ""), tool_calls: [{ ...call, images }, call] }], () => "")
  const shown = (parts: readonly Part[]) => parts.map((part) => part.kind === "tool" && part.images)
  assert.deepEqual([shown(live.parts), shown(stored[0]?.parts ?? [])], [[images], [images, []]])
})

test("a reset takes back the text under way", () => {
  const reset: StreamEvent = { event: "message.reset", data: { reason: "again" } }
  assert.deepEqual(texts(play(started, ...tool, delta("half"), reset, delta("new")).parts), ["t", "new"])
})

test("a run that is read again from its beginning is not shown twice", () => {
  const { parts } = play(started, delta("one"), ...tool, started, delta("one"), ...tool, delta("two"))
  assert.deepEqual(texts(parts), ["one", "t", "two"])
})

test("an event that this page does not know changes nothing", () => {
  const strange = { event: "agent.delegated", data: { to: "b" } } as unknown as StreamEvent
  assert.deepEqual(play(started, delta("x"), strange).parts, play(started, delta("x")).parts)
})

test("stored messages become turns, and the run under way is left to its events", () => {
  const stored = [
    message("m1", "user", "hello"),
    message("m2", "assistant", [
      { type: "thinking", text: "hm" },
      { type: "text", text: "hi" },
    ]),
    { ...message("m3", "user", "go on"), run_id: "run_2" },
    { ...message("m4", "assistant", "half"), run_id: "run_2" },
  ]
  const turns = turnsOf(stored, () => "", "run_2")
  assert.deepEqual(
    turns.map((turn) => [turn.question?.text, texts(turn.parts)]),
    [
      ["hello", ["hm", "hi"]],
      ["go on", []],
    ],
  )
})

test("an answer's cost is the sum of the model's messages in it", () => {
  const usage = (total: number, estimated: boolean) => ({
    ...{ input_tokens: total, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0 },
    ...{ total_tokens: total, cost_usd: total / 100, estimated },
  })
  const stored = [
    message("m1", "user", "hello"),
    { ...message("m2", "assistant", "let me look"), usage: usage(10, true) },
    { ...message("m3", "assistant", "done"), usage: usage(15, false) },
    message("m4", "user", "and?"),
  ]
  assert.deepEqual(
    turnsOf(stored, () => "").map((turn) => turn.usage),
    [{ ...usage(25, true), cost_usd: 0.25 }, null],
  )
})

test("the images of a stored question are found by its id and their hash", () => {
  const image = { type: "image" as const, mime_type: "image/png", hash: "abc" }
  const stored = [message("m1", "user", [{ type: "text", text: "what is this?" }, image])]
  const [turn] = turnsOf(stored, (id, hash) => `/${id}/${hash}`)
  assert.deepEqual(turn?.question, {
    text: "what is this?",
    images: [{ mimeType: "image/png", hash: "abc", url: "/m1/abc" }],
  })
})

test("blocks of a growing answer join to the same text, and a fence is never cut", () => {
  const text = "One.\n\nTwo\n\n```js\nlet a\n\nlet b\n```\n\n- x\n\n- y\n\nEnd"
  const blocks = splitBlocks(text)
  assert.equal(blocks.join("\n"), text)
  assert.ok(blocks.some((block) => block.includes("let a\n\nlet b")))
  assert.ok(blocks.some((block) => block.includes("- x\n\n- y")))
})
