import type { AssistantMessage, Message, Model } from "@earendil-works/pi-ai"
import { demoAnswer } from "./demo-answers.ts"
import { likelyTextTokens, likelyTokens } from "./estimate.ts"
import type { CallSink } from "./model-caller.ts"
import type { RunSpec } from "./protocol.ts"
import type { CallResult } from "./provider-call.ts"

export const DEMO_MODEL = "demo/demo"

export const demoModel: Model<"demo"> = {
  id: "demo",
  name: "Autonomis demo",
  api: "demo",
  provider: "demo",
  baseUrl: "",
  reasoning: false,
  input: ["text", "image"],
  cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
  contextWindow: 200_000,
  maxTokens: 8192,
}

/** 20 tool calls a minute for each user; the times of the last ones. */
export interface DemoBudget {
  /** How many of `wanted` calls may be made now. */
  take(userId: string, wanted: number): number
}

const CALLS_A_MINUTE = 20
/** What is read of a message; enough for the largest arguments that a tool takes. */
const MAX_ORDER_TEXT = 512 * 1024
const MAX_LINES = 1000

export function createDemoBudget(now: () => number): DemoBudget {
  const made = new Map<string, number[]>()
  return {
    take(userId, wanted) {
      const since = now() - 60_000
      const recent = (made.get(userId) ?? []).filter((time) => time > since)
      const granted = Math.max(0, Math.min(wanted, CALLS_A_MINUTE - recent.length))
      for (let i = 0; i < granted; i++) recent.push(now())
      if (recent.length === 0) made.delete(userId)
      else made.set(userId, recent)
      return granted
    },
  }
}

/** Between two words; slow enough to be seen, fast enough not to be waited for. */
const WORD_PAUSE_MS = 4

/**
 * A scripted model: it needs no key, so that the platform can be tried at once. It says what it is, answers simple
 * questions about its agent, and carries out `/tool NAME {json}` lines of the newest user message.
 */
export async function demoReply(
  spec: RunSpec,
  budget: DemoBudget,
  messages: readonly Message[],
  sink: CallSink,
  signal: AbortSignal,
): Promise<CallResult> {
  const results = resultsSinceUser(messages)
  const ordered = results === null ? readOrders(newestText(spec)) : { calls: [], faults: [] }
  const granted = ordered.calls.length === 0 ? 0 : budget.take(spec.userId, ordered.calls.length)
  const calls = ordered.calls.slice(0, granted)
  const late = ordered.calls.length - granted
  const faults = [...ordered.faults]
  if (late > 0)
    faults.push(
      `I make at most ${CALLS_A_MINUTE} tool calls a minute; ${late} had to be left out. Try again in a minute.`,
    )

  let text = ""
  if (results !== null) text = tellResults(results)
  else if (ordered.calls.length + faults.length > 0) text = faults.join("\n")
  else text = demoAnswer(spec, newestText(spec).slice(0, 2000))

  const written = await stream(cutAtStop(text, spec.stop), sink, signal)
  const content: AssistantMessage["content"] = written.text === "" ? [] : [{ type: "text", text: written.text }]
  if (!signal.aborted) {
    for (const [index, call] of calls.entries()) {
      content.push({
        type: "toolCall",
        id: `demo_${messages.length}_${index + 1}`,
        name: call.name,
        arguments: call.arguments,
      })
    }
  }
  const input = likelyTokens(messages)
  const output = likelyTextTokens(text) + calls.length * 24 + 1
  const cost = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 }
  const message: AssistantMessage = {
    role: "assistant",
    content,
    api: demoModel.api,
    provider: demoModel.provider,
    model: demoModel.id,
    usage: { input, output, cacheRead: 0, cacheWrite: 0, totalTokens: input + output, cost },
    stopReason: signal.aborted ? "aborted" : written.cut ? "length" : calls.length > 0 ? "toolUse" : "stop",
    timestamp: 0,
  }
  return { message, wire: { status: 200, retryAfterMs: null, failure: null } }
}

interface Call {
  name: string
  arguments: Record<string, never>
}

/** Lines that begin with `/tool`; everything else in the message is ignored when there is one. */
function readOrders(text: string): { calls: Call[]; faults: string[] } {
  const calls: Call[] = []
  const faults: string[] = []
  for (const raw of text.split("\n", MAX_LINES)) {
    const line = raw.trim()
    if (!/^\/tool(?:\s|$)/.test(line)) continue
    const order = line.slice(5).trimStart()
    const end = order.search(/\s|\{|$/)
    const name = order.slice(0, end)
    const json = order.slice(end).trimStart()
    if (name === "") {
      faults.push('A tool line looks like this: /tool bash {"command":"ls"}')
      continue
    }
    const given = parseObject(json === "" ? "{}" : json)
    if (given === null)
      faults.push(`The arguments of /tool ${name.slice(0, 100)} are not a JSON object: ${json.slice(0, 200)}`)
    else calls.push({ name, arguments: given })
  }
  return { calls, faults: faults.slice(0, 10) }
}

function parseObject(json: string): Record<string, never> | null {
  try {
    const value = JSON.parse(json)
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

function newestText(spec: RunSpec): string {
  const newest = spec.history.findLast(({ message }) => message.role === "user")?.message
  if (newest?.role !== "user") return ""
  return newest.content
    .map((part) => (part.type === "text" ? part.text.slice(0, MAX_ORDER_TEXT) : ""))
    .join("\n")
    .slice(0, MAX_ORDER_TEXT)
}

type Result = Extract<Message, { role: "toolResult" }>

/** The results that came in since the user spoke; null if the user has just spoken. */
function resultsSinceUser(messages: readonly Message[]): Result[] | null {
  const since = messages.slice(messages.findLastIndex((message) => message.role === "user") + 1)
  const results = since.filter((message) => message.role === "toolResult")
  return results.length === 0 ? null : results
}

function tellResults(results: Result[]): string {
  return results
    .map(({ toolName, content, isError }) => {
      const text = content.map((part) => (part.type === "text" ? part.text : `[${part.mimeType}]`)).join("\n")
      const shown = text.length > 1500 ? `${text.slice(0, 1500)}…` : text
      return `${toolName} ${isError ? "failed" : "returned"}:\n${shown}`
    })
    .join("\n\n")
}

function cutAtStop(text: string, stop: string[]): string {
  const at = Math.min(...stop.map((word) => text.indexOf(word)).filter((index) => index >= 0))
  return Number.isFinite(at) ? text.slice(0, at) : text
}

/** Sends word by word, up to the limit of tokens. */
async function stream(text: string, sink: CallSink, signal: AbortSignal): Promise<{ text: string; cut: boolean }> {
  let written = ""
  for (const word of text.match(/\s*\S+\s*?(?=\s|$)|\s+$/g) ?? []) {
    if (signal.aborted) break
    if (likelyTextTokens(written + word) > sink.maxTokens) return { text: written, cut: true }
    if (written !== "") await new Promise((resolve) => setTimeout(resolve, WORD_PAUSE_MS))
    if (signal.aborted) break
    written += word
    sink.onText(word)
  }
  return { text: written, cut: false }
}
