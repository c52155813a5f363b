import type { ChatMessage, Content } from "@autonomis/contract/chat.ts"
import { MAX_IMAGE_BYTES, MAX_IMAGES } from "@autonomis/contract/chat.ts"
import { decodedSize, fromBase64, type Lifted } from "../http/lift.ts"
import { AppError } from "../lib/errors.ts"
import type { TranscriptMessage } from "../runtime/transcript.ts"

/** A request's messages in the stored form; images carry their bytes. */
export interface Conversation {
  /** The client's own system message. */
  instruction: string | null
  /** The last is the user's. */
  messages: ConversationMessage[]
}

export type ConversationMessage = Extract<TranscriptMessage, { role: "user" | "assistant" }>

type TextPart = Extract<Exclude<Content, string>[number], { type: "text" }>
type ImagePart = Extract<Exclude<Content, string>[number], { type: "image" }>
type Image = Omit<ImagePart, "data"> & { data: string | Lifted }

/** A message as it came in; the images of a large body were decoded when it was read. */
export type IncomingMessage = Omit<ChatMessage, "content"> & { content: string | (TextPart | Image)[] }

/** Puts what was lifted out of a body where it belongs. */
export function withLifted(
  messages: readonly ChatMessage[],
  lifted: ReadonlyMap<string, Lifted> | undefined,
): readonly IncomingMessage[] {
  if (lifted === undefined) return messages
  return messages.map(({ role, content }, i): IncomingMessage => {
    if (typeof content === "string") return { role, content }
    const parts = content.map((part, k) =>
      part.type === "text" ? part : { ...part, data: lifted.get(`messages[${i}].content[${k}].data`) ?? part.data },
    )
    return { role, content: parts }
  })
}

/** Throws 400 where an image is not what it says. The schema has checked the rest. */
export function toConversation(messages: readonly IncomingMessage[]): Conversation {
  const system = messages[0]?.role === "system" ? messages[0] : null
  const rest = system ? messages.slice(1) : messages
  return {
    instruction: system ? textOf(system.content) : null,
    messages: rest.map((message, i) => toMessage(message, system ? i + 1 : i)),
  }
}

function toMessage(message: IncomingMessage, index: number): ConversationMessage {
  const parts = typeof message.content === "string" ? [textPart(message.content)] : message.content
  if (message.role === "assistant") {
    const content = [textPart(textOf(parts))]
    return { v: 1, role: "assistant", model: null, content, stop_reason: "end_turn", usage: null }
  }
  const path = `messages[${index}].content`
  if (parts.filter((part) => part.type === "image").length > MAX_IMAGES)
    throw invalid(path, `${MAX_IMAGES} images at most in a message`)
  const content = parts.map((part, i) => (part.type === "text" ? part : checkedImage(part, `${path}[${i}].data`)))
  return { v: 1, role: "user", content }
}

const textPart = (text: string) => ({ type: "text" as const, text })

function textOf(content: IncomingMessage["content"]): string {
  if (typeof content === "string") return content
  return content
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("\n")
}

/** The text that a message begins with; "" when it begins with something else. */
export function firstText(message: ConversationMessage | undefined): string {
  const first = message?.content[0]
  return first?.type === "text" ? first.text : ""
}

function checkedImage({ type, mime_type, data }: Image, path: string) {
  const tooLarge = () => invalid(path, "5 MiB at most once decoded")
  if (typeof data === "string" && decodedSize(data) > MAX_IMAGE_BYTES) throw tooLarge()
  const { bytes, sha256 } = decoded(data)
  if (bytes === null) throw invalid(path, "must be base64")
  if (bytes.length > MAX_IMAGE_BYTES) throw tooLarge()
  const head = Buffer.from(bytes.subarray(0, 64))
  if (!MAGIC[mime_type](head)) throw invalid(path, `is not a ${mime_type} image`)
  return { type, mime_type, bytes, ...(sha256 === undefined ? {} : { hash: sha256 }) }
}

function decoded(data: string | Lifted): { bytes: Uint8Array<ArrayBuffer> | null; sha256?: string } {
  if (typeof data === "string") return { bytes: fromBase64(data) }
  return "fault" in data ? { bytes: null } : data
}

const at = (bytes: Buffer, offset: number, text: string) =>
  bytes.subarray(offset, offset + text.length).toString("latin1") === text

const MAGIC: Record<ImagePart["mime_type"], (head: Buffer) => boolean> = {
  "image/png": (head) => at(head, 0, "\x89PNG\r\n\x1a\n") && at(head, 12, "IHDR"),
  "image/jpeg": (head) => at(head, 0, "\xff\xd8\xff"),
  "image/gif": (head) => at(head, 0, "GIF87a") || at(head, 0, "GIF89a"),
  "image/webp": (head) => at(head, 0, "RIFF") && at(head, 8, "WEBP"),
}

function invalid(path: string, message: string): AppError {
  return new AppError("invalid_request", `the body is not valid: ${path}: ${message}`, { details: [{ path, message }] })
}

const TITLE_LENGTH = 80

/** A session's title: the beginning of its first message. */
export function titleOf(messages: readonly ConversationMessage[]): string {
  const first = messages.find((message) => message.role === "user")
  const text = first?.content.find((part) => part.type === "text")?.text ?? ""
  const line = text.trim().replace(/\s+/g, " ")
  if (line === "") return "Image"
  const letters = Array.from(line.slice(0, 2 * TITLE_LENGTH))
  return letters.length <= TITLE_LENGTH ? letters.join("") : `${letters.slice(0, TITLE_LENGTH - 1).join("")}…`
}
