import { z } from "zod"
import { ModelId } from "./agents.ts"
import {
  AgentParams,
  define,
  MIB,
  Name,
  NextCursor,
  Page,
  SessionName,
  Time,
  WELL_FORMED,
  wellFormed,
} from "./common.ts"

export const IMAGE_TYPES = ["image/png", "image/jpeg", "image/gif", "image/webp"] as const
export const MAX_IMAGES = 8
export const MAX_IMAGE_BYTES = 5 * MIB
export const MAX_CHAT_BYTES = 20 * MIB

const Text = z.string().min(1).refine(wellFormed, WELL_FORMED)
const TextPart = z.strictObject({ type: z.literal("text"), text: Text })
const ImagePart = z.strictObject({
  type: z.literal("image"),
  mime_type: z.enum(IMAGE_TYPES),
  data: z.string().min(1).meta({ description: "Base64; 5 MiB at most once decoded." }),
})
export const ContentPart = z.discriminatedUnion("type", [TextPart, ImagePart])
export const Content = z.union([Text, z.array(ContentPart).min(1).max(1000)])
export type Content = z.infer<typeof Content>

export const ChatMessage = z
  .strictObject({ role: z.enum(["user", "assistant", "system"]), content: Content })
  .meta({ id: "ChatMessage" })
export type ChatMessage = z.infer<typeof ChatMessage>

export const ChatRequest = z
  .strictObject({
    messages: z.array(ChatMessage).min(1).max(1000),
    session: SessionName.nullish().meta({
      description: "The server keeps the history of a session, so that only new messages are sent.",
    }),
    model: ModelId.nullish(),
    background: z.boolean().optional().meta({ description: "Answer 202 at once; the run needs no reader." }),
    resume_seconds: z
      .number()
      .int()
      .min(0)
      .max(300)
      .optional()
      .meta({ description: "How long a stream's run waits for a reader who went away. 30 unless told." }),
  })
  .superRefine(({ messages }, context) => {
    messages.forEach((message, i) => {
      if (message.role === "system" && i > 0)
        context.addIssue({ code: "custom", path: ["messages", i, "role"], message: "system may only stand first" })
      if (message.role !== "user" && Array.isArray(message.content) && message.content.some((p) => p.type === "image"))
        context.addIssue({ code: "custom", path: ["messages", i, "content"], message: "only a user may send images" })
    })
    if (messages.at(-1)?.role !== "user")
      context.addIssue({ code: "custom", path: ["messages"], message: "the last message must be the user's" })
  })
  .meta({ id: "ChatRequest" })
export type ChatRequest = z.infer<typeof ChatRequest>

export const Usage = z
  .object({
    input_tokens: z.number().int().meta({ description: "Without cached tokens." }),
    output_tokens: z.number().int(),
    cache_read_tokens: z.number().int(),
    cache_write_tokens: z.number().int(),
    total_tokens: z.number().int(),
    cost_usd: z.number(),
    estimated: z.boolean().meta({ description: "True where the provider gave no count." }),
  })
  .meta({ id: "RunUsage" })

export const ToolCall = z
  .object({
    id: z.string(),
    name: z.string(),
    arguments: z.record(z.string(), z.unknown()),
    is_error: z.boolean(),
    duration_ms: z.number(),
    result: z.string().meta({ description: "The first 2 KB." }),
  })
  .meta({ id: "ToolCall" })
export type ToolCall = z.infer<typeof ToolCall>

/** An image that a tool gave back; `sessions.image` gives its bytes by `message_id` and `hash`. */
export const ToolImage = z
  .object({ message_id: z.string(), mime_type: z.string(), hash: z.string() })
  .meta({ id: "ToolImage" })
export type ToolImage = z.infer<typeof ToolImage>

export const ChatAnswer = z
  .object({
    message: z.string(),
    agent: Name,
    session: z.string().nullable(),
    run_id: z.string(),
    stop_reason: z.string(),
    usage: Usage,
    tool_calls: z.array(ToolCall),
  })
  .meta({ id: "ChatAnswer" })
export type ChatAnswer = z.infer<typeof ChatAnswer>

export const RunState = z.enum(["queued", "running", "succeeded", "failed", "cancelled"])
export type RunState = z.infer<typeof RunState>

const RunError = z.object({ error: z.string(), code: z.string() })

export const Run = z
  .object({
    run_id: z.string(),
    agent: Name,
    session: z.string().nullable(),
    state: RunState,
    result: ChatAnswer.nullable(),
    error: RunError.nullable(),
    created_at: Time,
    finished_at: Time.nullable(),
  })
  .meta({ id: "Run" })
export type Run = z.infer<typeof Run>

export const RunAccepted = z.object({ run_id: z.string(), state: RunState }).meta({ id: "RunAccepted" })

/** The events of `chat/stream`, by name, with the shape of their data. Each SSE event has an `id` that counts up. */
export const STREAM_EVENTS = {
  "run.started": z.object({ run_id: z.string(), agent: Name, session: z.string().nullable() }),
  "message.delta": z.object({ delta: z.string() }),
  "thinking.delta": z.object({ delta: z.string() }),
  "message.snapshot": z.object({ text: z.string(), thinking: z.string() }),
  "message.reset": z.object({ reason: z.string() }),
  "tool.started": z.object({ id: z.string(), name: z.string(), arguments: z.record(z.string(), z.unknown()) }),
  "tool.output": z.object({ id: z.string(), delta: z.string() }),
  "tool.finished": z.object({ id: z.string(), is_error: z.boolean(), duration_ms: z.number(), result: z.string() }),
  /** Images of a session's tool call, once they can be read. */
  "tool.images": z.object({ id: z.string(), images: z.array(ToolImage) }),
  done: ChatAnswer,
  /** Beside the two may stand what the HTTP answer would say too: `limit`, `left`, `resets_at`, `retry_after_seconds`. */
  error: RunError.loose(),
} as const
export type StreamEventName = keyof typeof STREAM_EVENTS
export type StreamEvent = {
  [N in StreamEventName]: { event: N; data: z.infer<(typeof STREAM_EVENTS)[N]> }
}[StreamEventName]

export const Session = z
  .object({
    session: z.string(),
    title: z.string(),
    message_count: z.number().int().meta({ description: "The user's and the agent's." }),
    created_at: Time,
    updated_at: Time,
  })
  .meta({ id: "Session" })
export type Session = z.infer<typeof Session>

/** An image of a stored message is shown by its hash; `sessions.image` gives its bytes. */
export const SessionMessage = z
  .object({
    id: z.string(),
    role: z.enum(["user", "assistant", "summary"]).meta({
      description: "A tool's result stands with its call. A `summary` is what the agent itself goes on with.",
    }),
    content: z.union([
      z.string(),
      z.array(
        z.discriminatedUnion("type", [
          z.object({ type: z.literal("text"), text: z.string() }),
          z.object({ type: z.literal("thinking"), text: z.string() }),
          z.object({ type: z.literal("image"), mime_type: z.string(), hash: z.string() }),
        ]),
      ),
    ]),
    tool_calls: z.array(
      ToolCall.extend({
        images: z.array(ToolImage).optional().meta({ description: "Left out where there are none." }),
      }),
    ),
    model: z.string().nullable().meta({ description: "Which model wrote it; null for all that no model wrote." }),
    usage: Usage.nullable().meta({
      description: "What the model was paid for this message; null for all but its own.",
    }),
    run_id: z.string().nullable(),
    created_at: Time,
  })
  .meta({ id: "SessionMessage" })
export type SessionMessage = z.infer<typeof SessionMessage>

const RunParams = AgentParams.extend({ run_id: z.string().max(64) })
const SessionParams = AgentParams.extend({ session: SessionName })
const hello = { messages: [{ role: "user", content: "Hello, what can you help me with?" }] }
const chatErrors = [
  "failed_dependency",
  "concurrency_limit",
  "budget_exhausted",
  "conflict",
  "cancelled",
  "plan_limit",
  "unavailable",
] as const

export const chat = {
  send: define("Chat", {
    id: "chat.send",
    call: "POST /A/chat",
    access: "agent",
    summary: "Send a message and get a response",
    description:
      "Without `session` the conversation is exactly `messages`. A client that closes its connection cancels the run. With `background` the answer is 202 and a run id.",
    params: AgentParams,
    body: ChatRequest,
    maxBodyBytes: MAX_CHAT_BYTES,
    answer: z.union([ChatAnswer, RunAccepted]),
    statuses: [200, 202],
    errors: chatErrors,
    example: { body: hello },
  }),
  stream: define("Chat", {
    id: "chat.stream",
    call: "POST /A/chat/stream",
    access: "agent",
    summary: "Send a message with streaming response (SSE)",
    description:
      "Server-sent events: `run.started`, `message.delta`, `thinking.delta`, `message.snapshot`, `message.reset`, `tool.started`, `tool.output`, `tool.finished`, `tool.images`, and last `done` (the body of `chat`) or `error`.",
    params: AgentParams,
    body: ChatRequest,
    maxBodyBytes: MAX_CHAT_BYTES,
    produces: "sse",
    statuses: [200],
    errors: chatErrors,
    example: { body: hello },
  }),
  run: define("Chat", {
    id: "runs.get",
    call: "GET /A/runs/{run_id}",
    access: "agent",
    summary: "Get a run",
    description: "Where a run stands, with its result once it has ended.",
    params: RunParams,
    answer: Run,
    example: { params: { run_id: "{run_id}" } },
  }),
  runStream: define("Chat", {
    id: "runs.stream",
    call: "GET /A/runs/{run_id}/stream",
    access: "agent",
    summary: "Read a run's events",
    description: "What came after `Last-Event-ID` first, then live; for 24 hours after the run's end.",
    params: RunParams,
    produces: "sse",
    statuses: [200],
    example: { params: { run_id: "{run_id}" } },
  }),
  cancelRun: define("Chat", {
    id: "runs.cancel",
    call: "POST /A/runs/{run_id}/cancel",
    access: "agent",
    summary: "Cancel a run",
    description: "409 when it has ended already.",
    params: RunParams,
    answer: Run,
    statuses: [202],
    errors: ["conflict"],
    example: { params: { run_id: "{running_run_id}" } },
  }),
  sessions: define("Chat", {
    id: "sessions.list",
    call: "GET /A/sessions",
    access: "agent",
    summary: "List an agent's sessions",
    description: "The last used first.",
    params: AgentParams,
    query: z.strictObject(Page),
    answer: z.object({ sessions: z.array(Session), next_cursor: NextCursor }),
    example: {},
  }),
  session: define("Chat", {
    id: "sessions.get",
    call: "GET /A/sessions/{session}",
    access: "agent",
    summary: "Read a session",
    description: "Its messages, the oldest first.",
    params: SessionParams,
    query: z.strictObject(Page),
    answer: z.object({ session: z.string(), messages: z.array(SessionMessage), next_cursor: NextCursor }),
    example: { params: { session: "{session}" } },
  }),
  deleteSession: define("Chat", {
    id: "sessions.delete",
    call: "DELETE /A/sessions/{session}",
    access: "agent",
    summary: "Delete a session",
    description: "With all its messages.",
    params: SessionParams,
    errors: ["conflict"],
    example: { params: { session: "{session}" } },
  }),
  cutSession: define("Chat", {
    id: "sessions.cut",
    call: "DELETE /A/sessions/{session}/messages/{id}",
    access: "agent",
    summary: "Delete a message and all after it",
    description: "To edit and resend, or to answer again.",
    params: SessionParams.extend({ id: z.string().max(64) }),
    errors: ["conflict"],
    example: { params: { session: "{session}", id: "{message_id}" } },
  }),
  sessionImage: define("Chat", {
    id: "sessions.image",
    call: "GET /A/sessions/{session}/messages/{id}/images/{hash}",
    access: "agent",
    summary: "Read an image of a stored message",
    description:
      "The bytes as they were sent, with `ETag`; `hash` stands in the message's content. An image that a tool gave back stands with its call, with the `message_id` to ask for.",
    params: SessionParams.extend({ id: z.string().max(64), hash: z.string().regex(/^[0-9a-f]{64}$/) }),
    produces: "bytes",
    statuses: [200, 304],
    example: { params: { session: "{session}", id: "{message_id}", hash: "{hash}" } },
  }),
}
