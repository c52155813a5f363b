import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { createWireFilter } from "./wire-filter.ts"

function filter(text: string, size = text.length): string {
  const bytes = Buffer.from(text)
  const made = createWireFilter("text/event-stream; charset=utf-8")
  assert.ok(made)
  const out: Uint8Array[] = []
  for (let i = 0; i < bytes.length; i += size) out.push(...made.push(bytes.subarray(i, i + size)))
  return Buffer.concat([...out, ...made.end()]).toString()
}

const event = (data: unknown, name?: string) =>
  `${name === undefined ? "" : `event: ${name}\n`}data: ${JSON.stringify(data)}\n\n`
const letters = (count: number) => Array.from({ length: count }, (_, i) => String.fromCharCode(97 + (i % 26)))

test("pieces of Anthropic's tool arguments become one, before the call ends", () => {
  const piece = (index: number, partial_json: string) =>
    event(
      { type: "content_block_delta", index, delta: { type: "input_json_delta", partial_json } },
      "content_block_delta",
    )
  const stop = event({ type: "content_block_stop", index: 1 }, "content_block_stop")
  const text = event(
    { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "hi" } },
    "content_block_delta",
  )
  const many = letters(500)
  assert.equal(
    filter(many.map((letter) => piece(1, letter) + (letter === "m" ? text : "")).join("") + stop),
    text.repeat(19) + piece(1, many.join("")) + stop,
  )
})

test("pieces of chat completions' tool arguments become one, after their call was named", () => {
  const chunk = (delta: unknown, finish_reason: string | null = null) =>
    event({ id: "x", choices: [{ index: 0, delta, finish_reason }] })
  const naming = chunk({
    tool_calls: [{ index: 0, id: "call", type: "function", function: { name: "write", arguments: "" } }],
  })
  const end = chunk({}, "tool_calls")
  const done = "data: [DONE]\n\n"
  const many = letters(300)
  const got = filter(
    naming +
      many.map((letter) => chunk({ tool_calls: [{ index: 0, function: { arguments: letter } }] })).join("") +
      end +
      done,
  )
  assert.equal(got, naming + chunk({ tool_calls: [{ index: 0, function: { arguments: many.join("") } }] }) + end + done)
})

test("a call that comes whole in one chunk with its end still comes in the right order", () => {
  const whole = { index: 0, id: "c", type: "function", function: { name: "bash", arguments: '{"command":"ls"}' } }
  const usage = { prompt_tokens: 1 }
  const got = filter(
    event({
      choices: [{ index: 0, delta: { role: "assistant", tool_calls: [whole] }, finish_reason: "tool_calls" }],
      usage,
    }),
  )
  const events = got
    .trim()
    .split("\n\n")
    .map((text) => JSON.parse(text.slice(6)))
  assert.equal(events.length, 3)
  assert.equal(events[0].choices[0].delta.tool_calls[0].function.name, "bash")
  assert.equal(events[1].choices[0].delta.tool_calls[0].function.arguments, '{"command":"ls"}')
  assert.equal(events[2].choices[0].finish_reason, "tool_calls")
  assert.deepEqual(events[2].usage, usage)
})

test("pieces that the responses form repeats whole at the end are left out", () => {
  const delta = event({ type: "response.function_call_arguments.delta", output_index: 0, delta: "x" })
  const done = event({ type: "response.function_call_arguments.done", output_index: 0, arguments: "xxx" })
  assert.equal(filter(delta.repeat(3) + done), done)
})

test("everything else passes to the byte, however it is cut", () => {
  const stream = `event: ping\ndata: {}\n\n: comment\n\n${event({ text: 'äöü 🙂 "tool"' })}data: a\ndata: b\n\n`
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), (size) => {
      assert.equal(filter(stream, size), stream)
    }),
  )
  assert.equal(filter("data: a\r\n\r\ndata: b"), "data: a\n\ndata: b\n\n")
})

test("arguments over 256 KiB and more than 128 calls cut the stream off", () => {
  const piece = (index: number, partial_json: string) =>
    event({ type: "content_block_delta", index, delta: { type: "input_json_delta", partial_json } })
  assert.throws(() => filter(piece(0, "x".repeat(1000)).repeat(263)), /over the limit of 256 KiB/)
  assert.throws(() => filter(Array.from({ length: 129 }, (_, i) => piece(i, "x")).join("")), /more than 128 tool calls/)
})

test("what is not an event stream is left alone", () => {
  assert.equal(createWireFilter("application/json"), null)
})
