import type { RunSpec } from "./protocol.ts"

function lengthOf(given: Record<string, unknown>): number {
  let length = 256
  for (const value of Object.values(given)) length += typeof value === "string" ? value.length : 1024
  return length
}

/** What a run's prompt and history weigh, in characters (nearly all of them one byte); images as base64. */
export function weigh(spec: RunSpec): number {
  const { prompt } = spec
  let bytes = 4096 + prompt.soul.length + prompt.user.length + prompt.tools.length + prompt.memory.length
  for (const { message } of spec.history) {
    if (message.role === "summary") {
      bytes += message.text.length
      continue
    }
    for (const part of message.content) {
      if (part.type === "image") bytes += Math.ceil(((part.bytes?.length ?? 0) * 4) / 3)
      else if (part.type === "tool_call") bytes += lengthOf(part.arguments)
      else bytes += part.text.length
    }
  }
  return bytes
}
