type Json = Record<string, unknown>

const CONTEXT = "<context>"
const MARK = { type: "ephemeral" }

/**
 * Anthropic keeps a prompt's beginning up to each marked block, four at most. The library marks tools, system and the
 * last block. But the newest user message ends with a context that is not there the next time, so that all kept from it
 * on would be lost to the next message: here the mark of the tools (which the system's covers) is given up for two that
 * stand before it, at the newest user message's own text and at that of the one before, where the last run put its own.
 */
export function markForSession(payload: Json): Json {
  const { tools, messages } = payload
  if (!Array.isArray(messages)) return payload
  const users = messages.flatMap((message: unknown, index) => (isUsersOwn(message) ? [index] : [])).slice(-2)
  return {
    ...payload,
    ...(Array.isArray(tools) ? { tools: tools.map(withoutMark) } : {}),
    messages: messages.map((message: unknown, index) => (users.includes(index) ? markText(message) : message)),
  }
}

/** A message that a person wrote; results of tools come in messages of the same role. */
function isUsersOwn(message: unknown): boolean {
  return (
    isObject(message) &&
    message.role === "user" &&
    Array.isArray(message.content) &&
    !message.content.some((block: unknown) => isObject(block) && block.type === "tool_result")
  )
}

function markText(message: unknown): unknown {
  if (!isObject(message) || !Array.isArray(message.content)) return message
  const content: unknown[] = message.content
  const last = content.findLastIndex((block) => !isContext(block))
  const marked = content.map((block, index) =>
    index === last && isObject(block) ? { ...block, cache_control: MARK } : block,
  )
  return { ...message, content: marked }
}

const isContext = (block: unknown) =>
  isObject(block) && typeof block.text === "string" && block.text.startsWith(CONTEXT)

function withoutMark(tool: unknown): unknown {
  if (!isObject(tool)) return tool
  const { cache_control: _, ...rest } = tool
  return rest
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}
