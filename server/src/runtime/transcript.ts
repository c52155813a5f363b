import { z } from "zod"

/**
 * The stored form of a conversation, our own and versioned; the runtime alone maps it to the agent library's.
 * One row of `messages` holds one of these as JSON.
 */
const TextPart = z.object({ type: z.literal("text"), text: z.string() })

/** An image by reference: `hash` (SHA-256, hex) names an attachment of the user. `bytes` only in flight. */
const ImagePart = z.object({
  type: z.literal("image"),
  mime_type: z.enum(["image/png", "image/jpeg", "image/gif", "image/webp"]),
  hash: z.string().optional(),
  bytes: z.instanceof(Uint8Array).optional(),
})

/** `opaque` is bound to the provider that made it (a signature) and is dropped when the model changes. */
const ThinkingPart = z.object({ type: z.literal("thinking"), text: z.string(), opaque: z.string().optional() })

const ToolCallPart = z.object({
  type: z.literal("tool_call"),
  id: z.string(),
  name: z.string(),
  arguments: z.record(z.string(), z.unknown()),
  opaque: z.string().optional(),
})

export const RunUsage = z.object({
  input_tokens: z.number(),
  output_tokens: z.number(),
  cache_read_tokens: z.number(),
  cache_write_tokens: z.number(),
  total_tokens: z.number(),
  cost_usd: z.number(),
  /** True where the provider never gave its count, so that this is our estimate. */
  estimated: z.boolean(),
})
export type RunUsage = z.infer<typeof RunUsage>

export const TranscriptMessage = z.discriminatedUnion("role", [
  z.object({
    v: z.literal(1),
    role: z.literal("user"),
    content: z.array(z.discriminatedUnion("type", [TextPart, ImagePart])),
  }),
  z.object({
    v: z.literal(1),
    role: z.literal("assistant"),
    /** `provider/model` that wrote it; null for one that a client sent. */
    model: z.string().nullable(),
    content: z.array(z.discriminatedUnion("type", [TextPart, ThinkingPart, ToolCallPart])),
    stop_reason: z.string(),
    usage: RunUsage.nullable(),
  }),
  z.object({
    v: z.literal(1),
    role: z.literal("tool"),
    tool_call_id: z.string(),
    name: z.string(),
    /** At most 16 KiB of text for the model; the rest is the workspace file that the text names. */
    content: z.array(z.discriminatedUnion("type", [TextPart, ImagePart])),
    is_error: z.boolean(),
    duration_ms: z.number(),
  }),
  /** Stands for all messages of the session up to and with `covers_to_seq`. */
  z.object({ v: z.literal(1), role: z.literal("summary"), text: z.string(), covers_to_seq: z.number() }),
])
export type TranscriptMessage = z.infer<typeof TranscriptMessage>
export type AssistantMessage = Extract<TranscriptMessage, { role: "assistant" }>
export type ToolMessage = Extract<TranscriptMessage, { role: "tool" }>
