import type { ToolCall } from "@autonomis/contract/chat.ts"
import type { RunEvent } from "../runtime/protocol.ts"
import type { TranscriptMessage } from "../runtime/transcript.ts"
import type { Feed } from "./feed.ts"
import type { RunIdentity } from "./live-run.ts"
import type { ChatParts } from "./parts.ts"
import type { RunWriter } from "./run-writer.ts"
import { type NewMessage, newMessage } from "./session-store.ts"
import { imagesOf } from "./sessions.ts"

/** Output of one tool call that goes into the log, in lines. */
const LOGGED_LINES = 200

export interface Recorder {
  onEvent(event: RunEvent): void
  toolCalls(): ToolCall[]
}

/** Turns what the runtime tells into what readers get at once, and what stays: boundaries, messages, log lines. */
export function createRecorder(
  parts: ChatParts,
  run: RunIdentity,
  feed: Feed,
  writer: RunWriter,
  /** Whether the last event has been made already: nothing is told after it. */
  isEnding: () => boolean,
): Recorder {
  const { clock, ports, runs, sessions, attachments } = parts
  const all: ToolCall[] = []
  /** The newest of each id: there are models that begin to count anew in each answer. */
  const calls = new Map<string, ToolCall>()
  const outputs = new Map<string, string>()

  const durable = (seq: number, type: string, data: unknown) =>
    writer.add({ lastEvent: seq, steps: [runs.event(run, seq, type, data, clock.now())] })
  const log = (level: "info" | "warn", source: "sandbox" | "agent", message: string) =>
    ports.log({ ...run, runId: run.id, level, source, message })

  function store(message: TranscriptMessage): void {
    if (run.session === null) return
    const session = { id: run.session.id, userId: run.userId }
    if (!hasBytes(message)) {
      writer.add({ lastEvent: feed.lastId, steps: steps(newMessage(message, run.id)) })
      return
    }
    // An image's file is written while the run goes on; the message keeps its place among the others.
    const keeping = attachments.keep(run.userId, [message])
    let stored: NewMessage[] = []
    writer.add({
      lastEvent: feed.lastId,
      steps: keeping.then((kept) => {
        stored = kept.messages.map((whole) => newMessage(whole, run.id))
        return [...kept.steps, ...stored.flatMap(steps)]
      }),
      done() {
        keeping.then((kept) => kept.done()).catch(() => {})
        for (const one of stored) showImages(one)
      },
    })

    function steps(added: NewMessage) {
      const appended = sessions.append(session, [added], clock.now())
      const usage = added.message.role === "assistant" ? added.message.usage : null
      // What the provider counted, its answer included, is what the next call begins with.
      if (usage !== null && !usage.estimated) appended.push(sessions.counted(session.id, usage.total_tokens))
      return appended
    }
  }

  /** Readers learn of a tool's images once they can be had. */
  function showImages({ id: messageId, message }: NewMessage): void {
    const { images } = imagesOf(messageId, message)
    if (images === undefined || message.role !== "tool" || isEnding()) return
    const { id, data } = feed.publish("tool.images", { id: message.tool_call_id, images })
    durable(id, "tool.images", data)
  }

  return {
    toolCalls: () => all,
    onEvent(event) {
      switch (event.type) {
        case "message.delta":
        case "thinking.delta":
          return feed.delta(event.type, event.delta)
        case "message.reset":
          return feed.reset(event.reason)
        case "message": {
          if (event.message.role === "assistant") {
            feed.messageDone()
            const whole = shown(event.message)
            // Live readers have it in pieces; those who come later get it whole.
            if (whole.text !== "" || whole.thinking !== "") durable(feed.skip(), "message.snapshot", whole)
          }
          return store(event.message)
        }
        case "tool.started": {
          const { id, name, arguments: given } = event
          const call = { id, name, arguments: given, is_error: false, duration_ms: 0, result: "" }
          all.push(call)
          calls.set(id, call)
          const { id: seq, data } = feed.publish("tool.started", { id, name, arguments: given })
          return durable(seq, "tool.started", data)
        }
        case "tool.output":
          outputs.set(event.id, (outputs.get(event.id) ?? "").slice(0, 64 * 1024) + event.delta)
          feed.publish("tool.output", { id: event.id, delta: event.delta })
          return
        case "tool.finished": {
          const { id, isError, durationMs, result } = event
          const call = calls.get(id)
          if (call) Object.assign(call, { is_error: isError, duration_ms: durationMs, result })
          const { id: seq, data } = feed.publish("tool.finished", {
            id,
            is_error: isError,
            duration_ms: durationMs,
            result,
          })
          durable(seq, "tool.finished", data)
          const lines = (outputs.get(id) ?? "").split("\n").filter((line) => line.trim() !== "")
          outputs.delete(id)
          for (const line of lines.slice(0, LOGGED_LINES)) log("info", "sandbox", line)
          if (lines.length > LOGGED_LINES) log("info", "sandbox", `(${lines.length - LOGGED_LINES} more lines)`)
          return log(
            isError ? "warn" : "info",
            "agent",
            `${call?.name ?? "a tool"} ${isError ? "failed" : "ran"} in ${durationMs} ms`,
          )
        }
      }
    },
  }
}

function hasBytes(message: TranscriptMessage): boolean {
  if (message.role !== "tool" && message.role !== "user") return false
  return message.content.some((part) => part.type === "image" && part.bytes !== undefined)
}

function shown(message: Extract<TranscriptMessage, { role: "assistant" }>): { text: string; thinking: string } {
  let text = ""
  let thinking = ""
  for (const part of message.content) {
    if (part.type === "text") text += part.text
    if (part.type === "thinking") thinking += part.text
  }
  return { text, thinking }
}
