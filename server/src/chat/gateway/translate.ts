import { ModelId } from "@autonomis/contract/agents.ts"
import type { ChatAnswer } from "@autonomis/contract/chat.ts"
import type { Lifted } from "../../http/lift.ts"
import { AppError } from "../../lib/errors.ts"
import type { IncomingMessage } from "../content.ts"
import type { ChatCompletionRequest, CompletionUsage, GatewayMessage } from "./endpoints.ts"

/** What of a request in OpenAI's form goes into a run. */
export interface Translated {
  messages: IncomingMessage[]
  /** System and developer messages, wherever they stood. */
  instruction: string | null
  /** `provider/model`; null: what the agent uses. */
  model: string | null
  maxOutputTokens: number | null
  stop: string[]
}

/** `lifted`: what was taken out of a large body, by place. */
export function translate(
  request: ChatCompletionRequest,
  agentName: string,
  lifted: ReadonlyMap<string, Lifted> = new Map(),
): Translated {
  const instructions: string[] = []
  const messages: IncomingMessage[] = []
  request.messages.forEach((message, i) => {
    if (message.role === "system" || message.role === "developer") {
      const text = textOf(message.content)
      if (text.trim() !== "") instructions.push(text)
    } else if (message.role === "user") {
      messages.push({ role: "user", content: userContent(message, i, lifted) })
    } else {
      const text = textOf(message.content ?? "")
      // A message that only called tools of the client's says nothing here.
      if (text !== "") messages.push({ role: "assistant", content: text })
    }
  })
  if (messages.at(-1)?.role !== "user") throw invalid("messages", "the last message must be the user's")
  const { stop, max_completion_tokens, max_tokens } = request
  return {
    messages,
    instruction: instructions.length === 0 ? null : instructions.join("\n\n"),
    model: modelOf(request.model ?? null, agentName),
    maxOutputTokens: max_completion_tokens ?? max_tokens ?? null,
    stop: typeof stop === "string" ? [stop] : (stop ?? []),
  }
}

function modelOf(model: string | null, agentName: string): string | null {
  if (model === null || model === agentName) return null
  if (ModelId.safeParse(model).success) return model
  throw new AppError("not_found", `the model ${JSON.stringify(model)} does not exist: use ${agentName}`)
}

type Part = { type: string; text?: string; refusal?: string }

function textOf(content: string | readonly Part[]): string {
  if (typeof content === "string") return content
  return content.map((part) => part.text ?? part.refusal ?? "").join("\n")
}

function userContent(
  { content }: Extract<GatewayMessage, { role: "user" }>,
  index: number,
  lifted: ReadonlyMap<string, Lifted>,
): IncomingMessage["content"] {
  if (typeof content === "string") return content
  const parts: Exclude<IncomingMessage["content"], string> = []
  content.forEach((part, i) => {
    if (part.type === "text") {
      if (part.text !== "") parts.push({ type: "text", text: part.text })
    } else {
      const place = `messages[${index}].content[${i}].image_url.url`
      const image = imageOf(part.image_url.url, place)
      parts.push({ ...image, data: lifted.get(place) ?? image.data })
    }
  })
  if (parts.length === 0) throw invalid(`messages[${index}].content`, "must not be empty")
  return parts
}

const DATA_URL = /^data:image\/(png|jpe?g|gif|webp);base64,/i

function imageOf(url: string, path: string) {
  const head = DATA_URL.exec(url)
  const kind = head?.[1]?.toLowerCase().replace("jpg", "jpeg")
  if (head === null || (kind !== "png" && kind !== "jpeg" && kind !== "gif" && kind !== "webp"))
    throw invalid(path, "must be a data: URL of a png, jpeg, gif or webp image in base64")
  return { type: "image" as const, mime_type: `image/${kind}` as const, data: url.slice(head[0].length) }
}

function invalid(path: string, message: string): AppError {
  return new AppError("invalid_request", `the body is not valid: ${path}: ${message}`, { details: [{ path, message }] })
}

export const finishReason = (stopReason: string): "stop" | "length" =>
  stopReason === "max_tokens" || stopReason === "max_turns" ? "length" : "stop"

export function usageOf({ usage }: ChatAnswer): CompletionUsage {
  return {
    prompt_tokens: usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
    completion_tokens: usage.output_tokens,
    total_tokens: usage.total_tokens,
    prompt_tokens_details: { cached_tokens: usage.cache_read_tokens },
  }
}
