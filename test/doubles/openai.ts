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

/** The parts of a request's body that tests look at. */
export interface OpenAiBody {
  model: string
  stream?: boolean
  stream_options?: { include_usage?: boolean }
  messages?: { role: string; content: unknown; tool_calls?: unknown[]; tool_call_id?: string }[]
  input?: unknown[]
  tools?: { type: string; name?: string; function?: { name: string } }[]
  max_tokens?: number
  max_completion_tokens?: number
  max_output_tokens?: number
  stop?: string[]
  [field: string]: unknown
}

export type OpenAiDouble = Double<OpenAiBody>

/**
 * OpenAI's API on a loopback port: chat completions and responses, streamed and whole, and the list of models, with or
 * without `/v1` before them. What it answers is given by `script`; what it was asked stands in `requests`.
 *
 *     await using double = await startOpenAiDouble()
 *     // OPENAI_BASE_URL=`${double.url}/v1`, OPENAI_API_KEY=anything
 */
export function startOpenAiDouble(): Promise<OpenAiDouble> {
  return startDouble(wire)
}

const wire: Wire<OpenAiBody> = {
  isCall: (method, path) => method === "POST" && /^(?:\/v1)?\/(?:chat\/completions|responses)$/.test(path),
  wantsStream: (request) => request.body.stream === true,
  events: (request, reply) => (isChat(request) ? chatEvents(request, reply) : responseEvents(request, reply)),
  body: (request, reply) => (isChat(request) ? chatBody(request, reply) : responseBody(request, reply)),
  error: ({ status, message, type }) => ({
    error: { message: message ?? `error ${status}`, type: type ?? "api_error", param: null, code: type ?? null },
  }),
  other: (method, path) =>
    method === "GET" && /^(?:\/v1)?\/models$/.test(path)
      ? { object: "list", data: [{ id: "double", object: "model", created: 0, owned_by: "double" }] }
      : undefined,
}

const isChat = (request: DoubleRequest<OpenAiBody>) => request.path.endsWith("/chat/completions")
const textOf = (reply: Reply) => reply.text ?? (reply.toolCalls === undefined ? "OK" : "")
const sse = (data: unknown) => `data: ${JSON.stringify(data)}\n\n`
const callId = (call: { id?: string }, index: number) => call.id ?? `call_${index + 1}`

function count(request: DoubleRequest<OpenAiBody>, reply: Reply) {
  const { messages, input, tools } = request.body
  const given = reply.usage === false ? {} : (reply.usage ?? {})
  const cached = given.cacheRead ?? 0
  const prompt = given.input === undefined ? tokens([messages ?? input, tools]) : given.input + cached
  return { prompt, cached, output: given.output ?? outputTokens(reply) }
}

function chatUsage(request: DoubleRequest<OpenAiBody>, reply: Reply) {
  const { prompt, cached, output } = count(request, reply)
  return {
    prompt_tokens: prompt,
    completion_tokens: output,
    total_tokens: prompt + output,
    prompt_tokens_details: { cached_tokens: cached },
    completion_tokens_details: { reasoning_tokens: 0 },
  }
}

const finishReason = (reply: Reply) =>
  reply.stopReason ?? (reply.toolCalls === undefined || reply.toolCalls.length === 0 ? "stop" : "tool_calls")

function chatEvents(request: DoubleRequest<OpenAiBody>, reply: Reply): string[] {
  const base = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: request.body.model }
  const chunk = (delta: unknown, finish: string | null = null) =>
    sse({ ...base, choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }] })
  const events = [chunk({ role: "assistant", content: "", refusal: null })]
  for (const word of words(reply.thinking ?? "")) events.push(chunk({ reasoning_content: word }))
  for (const word of words(textOf(reply))) events.push(chunk({ content: word }))
  for (const [index, call] of (reply.toolCalls ?? []).entries()) {
    const opening = { index, id: callId(call, index), type: "function", function: { name: call.name, arguments: "" } }
    events.push(chunk({ tool_calls: [opening] }))
    for (const piece of argumentPieces(reply, call.arguments)) {
      events.push(chunk({ tool_calls: [{ index, function: { arguments: piece } }] }))
    }
  }
  events.push(chunk({}, finishReason(reply)))
  if (reply.usage !== false && request.body.stream_options?.include_usage) {
    events.push(sse({ ...base, choices: [], usage: chatUsage(request, reply) }))
  }
  events.push("data: [DONE]\n\n")
  return events
}

function chatBody(request: DoubleRequest<OpenAiBody>, reply: Reply) {
  const calls = (reply.toolCalls ?? []).map((call, index) => ({
    id: callId(call, index),
    type: "function",
    function: { name: call.name, arguments: argumentPieces(reply, call.arguments).join("") },
  }))
  return {
    id: "chatcmpl-1",
    object: "chat.completion",
    created: 1,
    model: request.body.model,
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: textOf(reply), ...(calls.length === 0 ? {} : { tool_calls: calls }) },
        finish_reason: finishReason(reply),
      },
    ],
    usage: chatUsage(request, reply),
  }
}

function responseBody(request: DoubleRequest<OpenAiBody>, reply: Reply) {
  const { prompt, cached, output } = count(request, reply)
  const items: unknown[] = []
  if (textOf(reply) !== "") items.push(messageItem(textOf(reply)))
  for (const [index, call] of (reply.toolCalls ?? []).entries()) items.push(callItem(reply, call, index))
  const incomplete = reply.stopReason === "length"
  return {
    id: "resp_1",
    object: "response",
    created_at: 1,
    model: request.body.model,
    status: incomplete ? "incomplete" : "completed",
    ...(incomplete ? { incomplete_details: { reason: "max_output_tokens" } } : {}),
    output: items,
    usage:
      reply.usage === false
        ? null
        : {
            input_tokens: prompt,
            input_tokens_details: { cached_tokens: cached },
            output_tokens: output,
            output_tokens_details: { reasoning_tokens: 0 },
            total_tokens: prompt + output,
          },
  }
}

const messageItem = (text: string, status = "completed") => ({
  id: "msg_1",
  type: "message",
  role: "assistant",
  status,
  content: text === "" ? [] : [{ type: "output_text", text, annotations: [] }],
})

const callItem = (reply: Reply, call: { id?: string; name: string; arguments: unknown }, index: number) => ({
  id: `fc_${index + 1}`,
  type: "function_call",
  status: "completed",
  call_id: callId(call, index),
  name: call.name,
  arguments: argumentPieces(reply, call.arguments).join(""),
})

function responseEvents(request: DoubleRequest<OpenAiBody>, reply: Reply): string[] {
  const events: string[] = []
  let sequence = 0
  const push = (type: string, fields: Record<string, unknown>) =>
    events.push(`event: ${type}\n${sse({ type, sequence_number: sequence++, ...fields })}`)
  const whole = responseBody(request, reply)
  push("response.created", { response: { ...whole, status: "in_progress", output: [], usage: null } })
  let output_index = 0
  const text = textOf(reply)
  if (text !== "") {
    const at = { item_id: "msg_1", output_index, content_index: 0 }
    push("response.output_item.added", { output_index, item: messageItem("", "in_progress") })
    push("response.content_part.added", { ...at, part: { type: "output_text", text: "", annotations: [] } })
    for (const word of words(text)) push("response.output_text.delta", { ...at, delta: word })
    push("response.output_text.done", { ...at, text })
    push("response.output_item.done", { output_index, item: messageItem(text) })
    output_index++
  }
  for (const [index, call] of (reply.toolCalls ?? []).entries()) {
    const item = callItem(reply, call, index)
    const at = { item_id: item.id, output_index }
    push("response.output_item.added", { output_index, item: { ...item, arguments: "", status: "in_progress" } })
    for (const delta of argumentPieces(reply, call.arguments)) {
      push("response.function_call_arguments.delta", { ...at, delta })
    }
    push("response.function_call_arguments.done", { ...at, arguments: item.arguments })
    push("response.output_item.done", { output_index, item })
    output_index++
  }
  push(whole.status === "incomplete" ? "response.incomplete" : "response.completed", { response: whole })
  return events
}
