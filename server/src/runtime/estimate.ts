import type { Message } from "@earendil-works/pi-ai"

/** No provider counts more for one image, whatever its size. */
const IMAGE_TOKENS = 2000
/** Roles, names and separators of one message. */
const MESSAGE_TOKENS = 16
/** Dense text (numbers, base64) has fewer bytes a token than prose, which has about four. */
const BYTES_PER_TOKEN = 2.5

/** More tokens than a provider will count for these messages, tools included; a call is reserved by this. */
export function upperTokens(messages: readonly Message[]): number {
  let tokens = 0
  for (const message of messages) {
    const { bytes, images } = weightOf(message)
    tokens += MESSAGE_TOKENS + Math.ceil(bytes / BYTES_PER_TOKEN) + images * IMAGE_TOKENS
  }
  return tokens
}

/** About as many as a provider will count; what is settled when it gave no count. */
export function likelyTokens(messages: readonly Message[]): number {
  let tokens = 0
  for (const message of messages) {
    const { bytes, images } = weightOf(message)
    tokens += 4 + Math.ceil(bytes / 4) + images * 1200
  }
  return tokens
}

export const likelyTextTokens = (text: string) => Math.ceil(Buffer.byteLength(text) / 4)

/** Bytes that a message keeps alive, images included. */
export function bytesAlive(message: Message): number {
  const { bytes, imageBytes } = weightOf(message)
  return bytes + imageBytes
}

interface Weight {
  bytes: number
  images: number
  imageBytes: number
}

/** A history is weighed at each turn; its messages do not change. */
const weighed = new WeakMap<Message, Weight>()

function weightOf(message: Message): Weight {
  const known = weighed.get(message)
  if (known !== undefined) return known
  const weight = { bytes: 0, images: 0, imageBytes: 0 }
  weighed.set(message, weight)
  if (typeof message.content === "string") weight.bytes += Buffer.byteLength(message.content)
  else {
    for (const part of message.content) {
      if (part.type === "text") weight.bytes += Buffer.byteLength(part.text)
      else if (part.type === "thinking") weight.bytes += part.thinking.length + (part.thinkingSignature?.length ?? 0)
      else if (part.type === "toolCall") weight.bytes += part.name.length + JSON.stringify(part.arguments).length
      else {
        weight.images++
        weight.imageBytes += part.data.length
      }
    }
  }
  if (message.role === "system") weight.bytes += JSON.stringify(message.toolsAdded ?? []).length
  return weight
}
