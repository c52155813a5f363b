import type { Api, AssistantMessage, Message, Model, ToolResultMessage, UserMessage } from "@earendil-works/pi-ai"
import type { RunSpec } from "./protocol.ts"
import type { RunUsage, AssistantMessage as StoredAssistant, ToolMessage } from "./transcript.ts"

/** Our stored form to the agent library's and back; nothing else knows both. Times are left out: they would change the prompt's bytes. */

export interface LoadedMessage {
  /** Null for what this run adds. */
  seq: number | null
  message: Message
}

/** The history for the model; `context` is put into the newest user message. */
export function loadHistory(spec: RunSpec, model: Model<Api>): LoadedMessage[] {
  const newest = spec.history.findLastIndex(({ message }) => message.role === "user")
  return spec.history.flatMap(({ seq, message }, index): LoadedMessage[] => {
    switch (message.role) {
      case "user": {
        const content = message.content.map(toContent)
        if (index === newest && spec.context !== "") {
          content.push({ type: "text", text: `<context>\n${spec.context}\n</context>` })
        }
        return [{ seq, message: { role: "user", content, timestamp: 0 } }]
      }
      case "assistant": {
        const loaded = loadAssistant(message, spec.model, model)
        return loaded === null ? [] : [{ seq, message: loaded }]
      }
      case "tool":
        return [
          {
            seq,
            message: {
              role: "toolResult",
              toolCallId: message.tool_call_id,
              toolName: message.name,
              content: message.content.map(toContent),
              isError: message.is_error,
              timestamp: 0,
            },
          },
        ]
      case "summary":
        return [{ seq, message: summaryMessage(message.text) }]
    }
    return []
  })
}

export function summaryMessage(text: string): UserMessage {
  const opening = "The earlier part of this conversation was summarized to make room. The summary:"
  return { role: "user", content: `${opening}\n\n<summary>\n${text}\n</summary>`, timestamp: 0 }
}

function toContent(
  part: { type: "text"; text: string } | { type: "image"; mime_type: string; bytes?: Uint8Array | undefined },
) {
  if (part.type === "text") return { type: "text" as const, text: part.text }
  const { bytes } = part
  if (bytes === undefined) return { type: "text" as const, text: "(an image that is no longer there)" }
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64")
  return { type: "image" as const, data, mimeType: part.mime_type }
}

function loadAssistant(stored: StoredAssistant, name: string, model: Model<Api>): AssistantMessage | null {
  const same = stored.model === name
  const content: AssistantMessage["content"] = []
  for (const part of stored.content) {
    if (part.type === "text") {
      if (part.text !== "") content.push({ type: "text", text: part.text })
    } else if (part.type === "thinking") {
      const opaque = same ? readOpaque(part.opaque, model.api) : null
      if (opaque === null) continue
      content.push({
        type: "thinking",
        thinking: part.text,
        thinkingSignature: opaque.signature,
        ...(opaque.redacted ? { redacted: true } : {}),
      })
    } else if (!isUnfinished(stored)) {
      const opaque = same ? readOpaque(part.opaque, model.api) : null
      const call = { type: "toolCall" as const, id: part.id, name: part.name, arguments: toJson(part.arguments) }
      content.push(opaque === null ? call : { ...call, thoughtSignature: opaque.signature })
    }
  }
  if (content.length === 0) return null
  const cost = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 }
  return {
    role: "assistant",
    content,
    api: same ? model.api : "other",
    provider: same ? model.provider : "other",
    model: same ? model.id : "other",
    usage: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, totalTokens: 0, cost },
    // A message that was cut off is still what the user has read.
    stopReason: content.some((part) => part.type === "toolCall") ? "toolUse" : "stop",
    timestamp: 0,
  }
}

/** Calls of a message that was cut off may be half; they were never carried out. */
const isUnfinished = (stored: StoredAssistant) => stored.stop_reason === "error" || stored.stop_reason === "cancelled"

interface Opaque {
  api: string
  signature: string
  redacted?: boolean
}

/** A signature is good for the wire form that made it only. */
function readOpaque(text: string | undefined, api: string): Opaque | null {
  if (text === undefined) return null
  const value: unknown = JSON.parse(text)
  if (typeof value !== "object" || value === null || !("api" in value) || value.api !== api) return null
  if (!("signature" in value) || typeof value.signature !== "string") return null
  const redacted = "redacted" in value && value.redacted === true
  return { api, signature: value.signature, ...(redacted ? { redacted } : {}) }
}

export function storeAssistant(message: AssistantMessage, name: string, usage: RunUsage | null): StoredAssistant {
  const opaque = (signature: string | undefined, redacted = false) => {
    if (signature === undefined || signature === "") return {}
    const value: Opaque = { api: message.api, signature, ...(redacted ? { redacted } : {}) }
    return { opaque: JSON.stringify(value) }
  }
  return {
    v: 1,
    role: "assistant",
    model: name,
    content: message.content.map((part) => {
      if (part.type === "text") return { type: "text", text: part.text }
      if (part.type === "thinking") {
        return { type: "thinking", text: part.thinking, ...opaque(part.thinkingSignature, part.redacted) }
      }
      const { id, name: tool, arguments: given } = part
      return { type: "tool_call", id, name: tool, arguments: { ...given }, ...opaque(part.thoughtSignature) }
    }),
    stop_reason: stopReason(message),
    usage,
  }
}

export function storeToolResult(message: ToolResultMessage, durationMs: number): ToolMessage {
  return {
    v: 1,
    role: "tool",
    tool_call_id: message.toolCallId,
    name: message.toolName,
    content: message.content.map((part) =>
      part.type === "text"
        ? part
        : { type: "image", mime_type: imageType(part.mimeType), bytes: Uint8Array.fromBase64(part.data) },
    ),
    is_error: message.isError,
    duration_ms: durationMs,
  }
}

export function stopReason(message: AssistantMessage): string {
  switch (message.stopReason) {
    case "length":
      return "max_tokens"
    case "toolUse":
      return "tool_use"
    case "error":
      return "error"
    case "aborted":
      return "cancelled"
    default:
      return message.rawStopReason === "stop_sequence" ? "stop_sequence" : "end_turn"
  }
}

export function textOf(message: AssistantMessage): string {
  return message.content.map((part) => (part.type === "text" ? part.text : "")).join("")
}

type Json = AssistantMessage["content"][number] extends infer P
  ? P extends { type: "toolCall"; arguments: infer A }
    ? A
    : never
  : never

/** What was stored came from JSON; the copy makes sure of it. */
function toJson(value: Record<string, unknown>): Json {
  return JSON.parse(JSON.stringify(value))
}

function imageType(type: string): "image/png" | "image/jpeg" | "image/gif" | "image/webp" {
  return type === "image/jpeg" || type === "image/gif" || type === "image/webp" ? type : "image/png"
}
