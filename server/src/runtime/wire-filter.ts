import { type ChunkFilter, GuardedFetchError } from "../lib/guarded-fetch.ts"
import { MAX_ARGUMENT_BYTES, MAX_CALLS_PER_MESSAGE } from "./settings.ts"

/**
 * The agent library parses a tool call's arguments anew at each piece that arrives, which is quadratic: 150 KB in
 * 6,000 pieces take ten seconds. This stands before it on the wire: pieces of arguments are held back until their call
 * is complete and sent on as one, and a call that grows too large cuts the stream off. Everything else passes as it
 * came, whole events at a time, so that the library also never searches a half line twice.
 */
export function createWireFilter(contentType: string): ChunkFilter | null {
  if (!contentType.includes("text/event-stream")) return null
  const lines = createLineSplitter()
  const calls = createCallHolder()
  const encoder = new TextEncoder()
  let event: string[] = []

  function take(line: string, out: string[]) {
    if (line !== "") {
      event.push(line)
      return
    }
    if (event.length > 0) out.push(...calls.pass(event))
    event = []
  }
  const encode = (events: string[]) => (events.length === 0 ? [] : [encoder.encode(events.join(""))])

  return {
    push(chunk) {
      const out: string[] = []
      for (const line of lines.push(chunk)) take(line, out)
      return encode(out)
    },
    end() {
      const out: string[] = []
      for (const line of lines.end()) take(line, out)
      take("", out)
      out.push(...calls.end())
      return encode(out)
    },
  }
}

function createLineSplitter() {
  let held: Uint8Array[] = []
  const text = (last: Uint8Array) => {
    const bytes = held.length === 0 ? last : Buffer.concat([...held, last])
    held = []
    const line = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8")
    return line.endsWith("\r") ? line.slice(0, -1) : line
  }
  return {
    push(chunk: Uint8Array): string[] {
      const lines: string[] = []
      let start = 0
      for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
        lines.push(text(chunk.subarray(start, end)))
        start = end + 1
      }
      if (start < chunk.length) held.push(chunk.slice(start))
      return lines
    },
    end: (): string[] => (held.length === 0 ? [] : [text(new Uint8Array())]),
  }
}

/** One piece of a call's arguments: which call, its text, and how an event with another text is written. */
interface Piece {
  call: string
  text: string
  write: (text: string) => string
}

function createCallHolder() {
  const held = new Map<string, { pieces: string[]; write: Piece["write"] }>()
  const sizes = new Map<string, number>()

  function hold(piece: Piece) {
    const size = (sizes.get(piece.call) ?? 0) + piece.text.length
    sizes.set(piece.call, size)
    if (size > MAX_ARGUMENT_BYTES) {
      throw new GuardedFetchError("too_large", `tool arguments are over the limit of ${MAX_ARGUMENT_BYTES / 1024} KiB`)
    }
    if (sizes.size > MAX_CALLS_PER_MESSAGE) {
      throw new GuardedFetchError("too_large", `more than ${MAX_CALLS_PER_MESSAGE} tool calls in one answer`)
    }
    const call = held.get(piece.call)
    if (call === undefined) held.set(piece.call, { pieces: [piece.text], write: piece.write })
    else call.pieces.push(piece.text)
  }
  function release(): string[] {
    const events = [...held.values()].map(({ pieces, write }) => write(pieces.join("")))
    held.clear()
    return events
  }

  return {
    pass(lines: string[]): string[] {
      const whole = `${lines.join("\n")}\n\n`
      if (!mayHoldArguments(whole)) {
        // Cheap tests, because nearly all events are text: only an event that ends something makes calls complete.
        return held.size > 0 && endsSomething(whole) ? [...release(), whole] : [whole]
      }
      const data = dataOf(lines)
      const pieces = data === null ? null : readPieces(data)
      if (pieces === null) return held.size > 0 ? [...release(), whole] : [whole]
      for (const piece of pieces.held) hold(piece)
      return pieces.rest.flatMap((event) => (held.size > 0 && endsSomething(event) ? [...release(), event] : [event]))
    },
    end: release,
  }
}

const mayHoldArguments = (event: string) =>
  event.includes("input_json_delta") ||
  event.includes('"tool_calls"') ||
  event.includes("_arguments.delta") ||
  event.includes("tool_call_input.delta") ||
  event.includes("toolcall_delta")

const endsSomething = (event: string) =>
  event.includes("content_block_stop") ||
  event.includes("message_delta") ||
  event.includes("message_stop") ||
  /"finish_reason" ?: ?"/.test(event) ||
  event.includes("[DONE]") ||
  event.includes("toolcall_end") ||
  event.includes('"response.') ||
  event.includes('"done"')

type Json = Record<string, unknown>

function dataOf(lines: string[]): Json | null {
  const text = lines
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5).trimStart())
    .join("\n")
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : null
  } catch {
    return null
  }
}

/** The pieces of arguments in an event, and the events that are left without them; null if it holds none. */
function readPieces(data: Json): { held: Piece[]; rest: string[] } | null {
  const { type, delta, choices } = data
  if (type === "content_block_delta" && isObject(delta) && typeof delta.partial_json === "string") {
    const write = (text: string) =>
      `event: content_block_delta\n${dataLine({ ...data, delta: { ...delta, partial_json: text } })}`
    return { held: [{ call: `a${String(data.index)}`, text: delta.partial_json, write }], rest: [] }
  }
  if (typeof type === "string" && /(?:_arguments|tool_call_input)\.delta$/.test(type) && typeof delta === "string") {
    // The event that ends the call brings the whole arguments once more; the size is still counted.
    return { held: [{ call: `r${String(data.output_index)}`, text: delta, write: () => "" }], rest: [] }
  }
  if (type === "toolcall_delta" && typeof delta === "string") {
    const write = (text: string) => dataLine({ ...data, delta: text })
    return { held: [{ call: `p${String(data.contentIndex)}`, text: delta, write }], rest: [] }
  }
  return Array.isArray(choices) ? readCompletion(data, choices) : null
}

/** Chat completions: a call's first piece names it and passes without its arguments; those follow when it is complete. */
function readCompletion(data: Json, choices: unknown[]): { held: Piece[]; rest: string[] } | null {
  const choice: unknown = choices[0]
  if (!isObject(choice) || !isObject(choice.delta) || !Array.isArray(choice.delta.tool_calls)) return null
  const { tool_calls: calls, ...others } = choice.delta
  const event = (delta: Json, finish: unknown, usage: unknown) =>
    dataLine({ ...data, usage, choices: [{ ...choice, delta, finish_reason: finish }, ...choices.slice(1)] })
  const held: Piece[] = []
  const named: unknown[] = []
  for (const [position, call] of calls.entries()) {
    if (!isObject(call) || !isObject(call.function) || typeof call.function.arguments !== "string") {
      named.push(call)
      continue
    }
    const { arguments: text, ...name } = call.function
    const { index, id } = call
    const place = index === undefined ? { id } : { index }
    const write = (whole: string) =>
      event({ tool_calls: [{ ...place, function: { arguments: whole } }] }, null, undefined)
    held.push({ call: `c${String(index ?? id ?? position)}`, text, write })
    if (id !== undefined || Object.keys(name).length > 0) {
      named.push({ ...call, function: { ...name, arguments: "" } })
    }
  }
  const rest: string[] = []
  if (named.length > 0) rest.push(event({ ...others, tool_calls: named }, null, undefined))
  else if (Object.keys(others).length > 0) rest.push(event(others, null, undefined))
  if (choice.finish_reason || data.usage) rest.push(event({}, choice.finish_reason, data.usage))
  return { held, rest }
}

const dataLine = (data: Json) => `data: ${JSON.stringify(data)}\n\n`

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
