import { createHash } from "node:crypto"
import {
  argumentPieces,
  type Double,
  type DoubleRequest,
  outputTokens,
  type Reply,
  startDouble,
  tokens,
  type Wire,
  words,
} from "./double.ts"

interface Block {
  type: string
  text?: string
  cache_control?: unknown
  [field: string]: unknown
}

/** The parts of a request's body that tests look at. */
export interface AnthropicBody {
  model: string
  stream?: boolean
  max_tokens: number
  system?: string | Block[]
  messages: { role: string; content: string | Block[] }[]
  tools?: { name: string; cache_control?: unknown; [field: string]: unknown }[]
  thinking?: { type: string; budget_tokens?: number }
  stop_sequences?: string[]
  [field: string]: unknown
}

export type AnthropicDouble = Double<AnthropicBody>

/**
 * Anthropic's Messages API on a loopback port, streamed and whole, with thinking and with its prompt cache: a prefix
 * up to a `cache_control` mark is kept for each key, a later request reads the longest kept prefix at one of its marks
 * or up to 20 blocks before it, and prefixes under 1,024 tokens are not kept. What was read and written stands in the
 * answer's usage, unless the script gives another.
 *
 *     await using double = await startAnthropicDouble()
 *     // ANTHROPIC_BASE_URL=double.url, ANTHROPIC_API_KEY=anything
 */
export function startAnthropicDouble(): Promise<AnthropicDouble> {
  const cache = new Set<string>()
  const wire: Wire<AnthropicBody> = {
    isCall: (method, path) => method === "POST" && /^\/v1\/messages(?:\?beta=true)?$/.test(path),
    wantsStream: (request) => request.body.stream === true,
    events: (request, reply) => events(request, reply, count(cache, request, reply)),
    body: (request, reply) => body(request, reply, count(cache, request, reply)),
    error: ({ status, message, type }) => ({
      type: "error",
      error: { type: type ?? errorType(status), message: message ?? `error ${status}` },
      request_id: "req_double",
    }),
  }
  return startDouble(wire)
}

function errorType(status: number): string {
  const types: Record<number, string> = {
    400: "invalid_request_error",
    401: "authentication_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
  }
  return types[status] ?? "api_error"
}

interface Count {
  input: number
  read: number
  written: number
  output: number
}

const LOOK_BACK = 20
const LEAST_TOKENS = 1024

function count(cache: Set<string>, request: DoubleRequest<AnthropicBody>, reply: Reply): Count {
  const { tools = [], system, messages } = request.body
  const blocks: { value: unknown; marked: boolean }[] = []
  const add = (value: { cache_control?: unknown }, role: string) => {
    const { cache_control: mark, ...rest } = value
    blocks.push({ value: [role, rest], marked: mark !== undefined })
  }
  for (const tool of tools) add(tool, "tool")
  for (const block of typeof system === "string" ? [{ type: "text", text: system }] : (system ?? []))
    add(block, "system")
  for (const { role, content } of messages) {
    for (const block of typeof content === "string" ? [{ type: "text", text: content }] : content) add(block, role)
  }

  const hash = createHash("sha256").update(String(request.headers["x-api-key"])).update(request.body.model)
  const prefixes: { id: string; size: number; marked: boolean }[] = []
  let size = 0
  for (const { value, marked } of blocks) {
    hash.update(JSON.stringify(value))
    size += tokens(value)
    prefixes.push({ id: hash.copy().digest("hex"), size, marked })
  }
  let read = 0
  let end = 0
  for (const [index, prefix] of prefixes.entries()) {
    if (!prefix.marked) continue
    end = prefix.size >= LEAST_TOKENS ? prefix.size : end
    for (let i = index; i >= Math.max(0, index - LOOK_BACK); i--) {
      const earlier = prefixes[i]
      if (earlier === undefined || !cache.has(earlier.id)) continue
      read = Math.max(read, earlier.size)
      break
    }
  }
  for (const prefix of prefixes) if (prefix.marked && prefix.size >= LEAST_TOKENS) cache.add(prefix.id)
  const given = reply.usage === false ? {} : (reply.usage ?? {})
  return {
    input: given.input ?? size - Math.max(read, end),
    read: given.cacheRead ?? read,
    written: given.cacheWrite ?? Math.max(0, end - read),
    output: given.output ?? outputTokens(reply),
  }
}

const usage = ({ input, read, written, output }: Count) => ({
  input_tokens: input,
  cache_creation_input_tokens: written,
  cache_read_input_tokens: read,
  output_tokens: output,
})

const textOf = (reply: Reply) => reply.text ?? (reply.toolCalls === undefined ? "OK" : "")
const callId = (call: { id?: string }, index: number) => call.id ?? `toolu_${index + 1}`
const stopReason = (reply: Reply) =>
  reply.stopReason ?? (reply.toolCalls === undefined || reply.toolCalls.length === 0 ? "end_turn" : "tool_use")

function events(request: DoubleRequest<AnthropicBody>, reply: Reply, counted: Count): string[] {
  const out: string[] = []
  const push = (type: string, fields: Record<string, unknown>) =>
    out.push(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`)
  const zero = { input: 0, read: 0, written: 0, output: 0 }
  const first = reply.usage === false ? zero : { ...counted, output: 1 }
  push("message_start", { message: { ...head(request), content: [], stop_reason: null, usage: usage(first) } })
  push("ping", {})
  let index = 0
  const block = (content_block: unknown, deltas: unknown[]) => {
    push("content_block_start", { index, content_block })
    for (const delta of deltas) push("content_block_delta", { index, delta })
    push("content_block_stop", { index })
    index++
  }
  if (reply.thinking !== undefined) {
    const deltas: unknown[] = words(reply.thinking).map((thinking) => ({ type: "thinking_delta", thinking }))
    deltas.push({ type: "signature_delta", signature: "signature-of-double" })
    block({ type: "thinking", thinking: "", signature: "" }, deltas)
  }
  const text = textOf(reply)
  if (text !== "")
    block(
      { type: "text", text: "" },
      words(text).map((word) => ({ type: "text_delta", text: word })),
    )
  for (const [position, call] of (reply.toolCalls ?? []).entries()) {
    block(
      { type: "tool_use", id: callId(call, position), name: call.name, input: {} },
      argumentPieces(reply, call.arguments).map((partial_json) => ({ type: "input_json_delta", partial_json })),
    )
  }
  push("message_delta", {
    delta: { stop_reason: stopReason(reply), stop_sequence: null },
    ...(reply.usage === false ? {} : { usage: usage(counted) }),
  })
  push("message_stop", {})
  return out
}

const head = (request: DoubleRequest<AnthropicBody>) => ({
  id: "msg_double",
  type: "message",
  role: "assistant",
  model: request.body.model,
  stop_sequence: null,
})

function body(request: DoubleRequest<AnthropicBody>, reply: Reply, counted: Count) {
  const text = textOf(reply)
  return {
    ...head(request),
    content: [
      ...(reply.thinking === undefined
        ? []
        : [{ type: "thinking", thinking: reply.thinking, signature: "signature-of-double" }]),
      ...(text === "" ? [] : [{ type: "text", text }]),
      ...(reply.toolCalls ?? []).map((call, index) => ({
        type: "tool_use",
        id: callId(call, index),
        name: call.name,
        input: call.arguments,
      })),
    ],
    stop_reason: stopReason(reply),
    usage: usage(counted),
  }
}
