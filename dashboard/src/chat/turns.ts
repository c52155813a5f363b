import type { ChatAnswer, SessionMessage, StreamEvent, ToolImage } from "@autonomis/contract/chat.ts"

export interface ToolPart {
  kind: "tool"
  id: string
  name: string
  arguments: Readonly<Record<string, unknown>>
  /** What the tool wrote so far. */
  output: string
  /** Null while it runs. */
  result: string | null
  isError: boolean
  durationMs: number | null
  /** What it gave back beside the text. */
  images: readonly ToolImage[]
}
export type Part = { kind: "text" | "thinking" | "summary"; text: string } | ToolPart

export type RunUsage = ChatAnswer["usage"]

export interface QuestionImage {
  mimeType: string
  url: string
  /** Null while the message is on its way: the `url` then bears the image itself. */
  hash: string | null
}

export interface Turn {
  id: string
  /** The stored message, to cut the conversation at; null while it is only on its way. */
  messageId: string | null
  /** Null where the turn did not begin with a message of the user. */
  question: { text: string; images: readonly QuestionImage[] } | null
  runId: string | null
  parts: readonly Part[]
  /** Which model answered last; null while none has. */
  model: string | null
  /** Of all the model's messages in it. */
  usage: RunUsage | null
  time: string | null
}

/** Where an image of a stored message is found. */
type ImageUrl = (messageId: string, hash: string) => string

/** The turns of a stored conversation, the oldest first; with `without`, but for the answer of the run that is live. */
export function turnsOf(
  messages: readonly SessionMessage[],
  imageUrl: ImageUrl,
  without: string | null = null,
): Turn[] {
  const turns: Turn[] = []
  for (const message of messages) {
    if (message.role === "user") {
      turns.push({
        id: message.id,
        messageId: message.id,
        question: questionOf(message, imageUrl),
        runId: message.run_id,
        parts: [],
        model: null,
        usage: null,
        time: message.created_at,
      })
      continue
    }
    if (without !== null && message.run_id === without) continue
    const last = turns.at(-1)
    const parts = partsOf(message)
    if (last === undefined) {
      const { id, run_id: runId, created_at: time } = message
      turns.push({
        id,
        messageId: null,
        question: null,
        runId,
        parts,
        model: message.model,
        usage: message.usage,
        time,
      })
    } else {
      const usage = sum(last.usage, message.usage)
      const model = message.model ?? last.model
      turns[turns.length - 1] = {
        ...last,
        runId: message.run_id ?? last.runId,
        parts: [...last.parts, ...parts],
        model,
        usage,
      }
    }
  }
  return turns
}

function sum(a: RunUsage | null, b: RunUsage | null): RunUsage | null {
  if (a === null || b === null) return a ?? b
  return {
    input_tokens: a.input_tokens + b.input_tokens,
    output_tokens: a.output_tokens + b.output_tokens,
    cache_read_tokens: a.cache_read_tokens + b.cache_read_tokens,
    cache_write_tokens: a.cache_write_tokens + b.cache_write_tokens,
    total_tokens: a.total_tokens + b.total_tokens,
    cost_usd: a.cost_usd + b.cost_usd,
    estimated: a.estimated || b.estimated,
  }
}

function questionOf({ id, content }: SessionMessage, imageUrl: ImageUrl): NonNullable<Turn["question"]> {
  if (typeof content === "string") return { text: content, images: [] }
  const text = content.flatMap((part) => (part.type === "text" ? [part.text] : [])).join("\n\n")
  const images = content.flatMap((part) => {
    if (part.type !== "image") return []
    const { mime_type: mimeType, hash } = part
    return [{ mimeType, hash, url: imageUrl(id, hash) }]
  })
  return { text, images }
}

function partsOf(message: SessionMessage): Part[] {
  const kind = message.role === "summary" ? "summary" : "text"
  const parts: Part[] = []
  if (typeof message.content === "string") {
    if (message.content !== "") parts.push({ kind, text: message.content })
  } else {
    for (const part of message.content) {
      if (part.type === "text") parts.push({ kind, text: part.text })
      if (part.type === "thinking") parts.push({ kind: "thinking", text: part.text })
    }
  }
  for (const call of message.tool_calls)
    parts.push({
      kind: "tool",
      id: call.id,
      name: call.name,
      arguments: call.arguments,
      output: "",
      result: call.result,
      isError: call.is_error,
      durationMs: call.duration_ms,
      images: call.images ?? [],
    })
  return parts
}

/** A run under way, as its events tell it. */
export interface LiveAnswer {
  runId: string | null
  parts: readonly Part[]
  /** Parts before this one are settled; a snapshot or a reset concerns only what comes after. */
  boundary: number
  usage: RunUsage | null
  end: { kind: "done" } | { kind: "error"; error: string; code: string } | null
}

export const NOTHING_YET: LiveAnswer = { runId: null, parts: [], boundary: 0, usage: null, end: null }

export function applyEvent(live: LiveAnswer, event: StreamEvent): LiveAnswer {
  const { parts } = live
  switch (event.event) {
    case "run.started":
      // A run that is read anew is told from its beginning.
      return { ...NOTHING_YET, runId: event.data.run_id }
    case "message.delta":
      return { ...live, parts: append(parts, live.boundary, "text", event.data.delta) }
    case "thinking.delta":
      return { ...live, parts: append(parts, live.boundary, "thinking", event.data.delta) }
    case "message.snapshot": {
      const { text, thinking } = event.data
      const fresh: Part[] = []
      if (thinking) fresh.push({ kind: "thinking", text: thinking })
      if (text) fresh.push({ kind: "text", text })
      return { ...live, parts: [...parts.slice(0, live.boundary), ...fresh] }
    }
    case "message.reset":
      return { ...live, parts: parts.slice(0, live.boundary) }
    case "tool.started": {
      const { id, name, arguments: args } = event.data
      if (parts.some((part) => part.kind === "tool" && part.id === id)) return live
      const tool: ToolPart = {
        kind: "tool",
        id,
        name,
        arguments: args,
        output: "",
        result: null,
        isError: false,
        durationMs: null,
        images: [],
      }
      return { ...live, parts: [...parts, tool], boundary: parts.length + 1 }
    }
    case "tool.output":
      return {
        ...live,
        parts: changeTool(parts, event.data.id, (tool) => ({ output: tool.output + event.data.delta })),
      }
    case "tool.finished": {
      const { id, result, is_error: isError, duration_ms: durationMs } = event.data
      return { ...live, boundary: parts.length, parts: changeTool(parts, id, () => ({ result, isError, durationMs })) }
    }
    case "tool.images": {
      const { id, images } = event.data
      return { ...live, parts: changeTool(parts, id, () => ({ images })) }
    }
    case "done":
      return { ...live, usage: event.data.usage, parts: completed(live, event.data.message), end: { kind: "done" } }
    case "error":
      return { ...live, end: { kind: "error", ...event.data } }
    default:
      // A newer server may tell more than this page knows.
      return live
  }
}

/** A late reader may have seen nothing of the last message but its whole text at the end. */
function completed({ parts, boundary }: LiveAnswer, message: string): readonly Part[] {
  const seen = parts.slice(boundary).some((part) => part.kind === "text")
  return seen || message === "" ? parts : [...parts, { kind: "text", text: message }]
}

function append(parts: readonly Part[], boundary: number, kind: "text" | "thinking", delta: string): Part[] {
  const last = parts.at(-1)
  if (last !== undefined && parts.length > boundary && last.kind === kind)
    return [...parts.slice(0, -1), { kind, text: last.text + delta }]
  return [...parts, { kind, text: delta }]
}

function changeTool(parts: readonly Part[], id: string, change: (tool: ToolPart) => Partial<ToolPart>): Part[] {
  return parts.map((part) => (part.kind === "tool" && part.id === id ? { ...part, ...change(part) } : part))
}
