import type { Api, AssistantMessage, Message, Model, TranscriptContext } from "@earendil-works/pi-ai"
import type { RunPort } from "./border.ts"
import { priceOf } from "./catalogue.ts"
import { likelyTextTokens, likelyTokens, upperTokens } from "./estimate.ts"
import { RunFailure } from "./failure.ts"
import type { ResolvedModel } from "./models.ts"
import type { Pi } from "./pi/load.ts"
import type { CallResult } from "./provider-call.ts"
import { providerReason, shouldRetry } from "./provider-error.ts"
import type { RuntimeSettings } from "./settings.ts"
import type { RunUsage } from "./transcript.ts"
import { addUsage, NO_USAGE, roundUsd } from "./usage.ts"

export interface ModelCaller {
  /**
   * One message of the model, repeated where that is safe; each try is reserved before and settled after. A failure is
   * a message with `stopReason: "error"`; why stands in `failure`.
   */
  call(context: TranscriptContext, sink: CallSink, signal: AbortSignal): Promise<AssistantMessage>
  /** How many tokens the next call with these messages will have at most. */
  upperTokens(messages: readonly Message[]): number
  /** How many it will have by all we know; decides whether to make room. */
  expectedTokens(messages: readonly Message[]): number
  /** The history was rewritten: what the last call counted says nothing about the next. */
  forget(): void
  usage: RunUsage
  /** Of the last message, for the transcript. */
  lastUsage: RunUsage | null
  failure: RunFailure | null
  /** Input tokens of the last call failed for being too many. */
  overflowed: boolean
}

export interface CallSink {
  maxTokens: number
  onText: (delta: string) => void
  onThinking: (delta: string) => void
  /** What was shown since the message began is void. */
  onReset: (reason: string) => void
}

export interface CallerDeps {
  pi: Pi
  port: Pick<RunPort, "reserve" | "settle">
  model: Model<Api>
  /** Null for the demo model. */
  resolved: ResolvedModel | null
  /** `provider/model` as the run names it. */
  name: string
  owner: "platform" | "user"
  settings: RuntimeSettings
  send: (context: TranscriptContext, sink: CallSink, signal: AbortSignal) => Promise<CallResult>
  /** The provider's count at the session's last call, and how many messages it covered. */
  known: { tokens: number; messages: number } | null
}

export function createModelCaller(deps: CallerDeps): ModelCaller {
  const { pi, port, model, settings } = deps
  let known = deps.known
  const caller: ModelCaller = {
    usage: NO_USAGE,
    lastUsage: null,
    failure: null,
    overflowed: false,
    upperTokens: (messages) =>
      known === null ? upperTokens(messages) : known.tokens + upperTokens(messages.slice(known.messages)),
    expectedTokens: (messages) =>
      known === null
        ? Math.ceil(likelyTokens(messages) * 1.15)
        : known.tokens + likelyTokens(messages.slice(known.messages)),
    forget() {
      known = null
    },
    async call(context, sink, signal) {
      caller.failure = null
      caller.overflowed = false
      for (let tries = 0; ; tries++) {
        const shown = { text: false, thinking: false }
        const watched: CallSink = {
          ...sink,
          onText(delta) {
            shown.text ||= delta !== ""
            sink.onText(delta)
          },
          onThinking(delta) {
            shown.thinking ||= delta !== ""
            sink.onThinking(delta)
          },
        }
        const result = await tryOnce(context, watched, signal)
        const { message } = result
        if (message.stopReason !== "error") return message
        if (caller.failure !== null) return message
        caller.overflowed = pi.isContextOverflow(message, model.contextWindow)
        const pause = shouldRetry(result, tries, settings)
        if (caller.overflowed || shown.text || pause === null || !(await sleep(pause, signal))) {
          if (signal.aborted) return { ...message, stopReason: "aborted" }
          caller.failure = new RunFailure("failed_dependency", providerReason(deps.resolved, model, result))
          return message
        }
        if (shown.thinking) sink.onReset("the provider failed and is asked again")
      }
    },
  }

  async function tryOnce(context: TranscriptContext, sink: CallSink, signal: AbortSignal): Promise<CallResult> {
    const wire = { status: null, retryAfterMs: null, failure: null }
    const inputTokens = caller.upperTokens(context.messages)
    const { callId, answer } = await port.reserve({
      model: deps.name,
      credentialsOwner: deps.owner,
      inputTokens,
      maxTokens: sink.maxTokens,
      price: priceOf(model),
      isPriceKnown: deps.resolved?.isCatalogued ?? true,
    })
    if (!answer.ok) {
      if (!signal.aborted) caller.failure = new RunFailure(answer.code, answer.message, answer.extra)
      return { message: emptyMessage(model, signal.aborted ? "aborted" : "error", answer.message), wire }
    }
    let result: CallResult
    try {
      result = await deps.send(context, { ...sink, maxTokens: Math.min(sink.maxTokens, answer.maxTokens) }, signal)
    } catch (error) {
      await port.settle(callId, null)
      if (error instanceof RunFailure) caller.failure = error
      return { message: emptyMessage(model, "error", error instanceof Error ? error.message : String(error)), wire }
    }
    const usage = usageOf(pi, model, context, result)
    await port.settle(callId, usage)
    caller.lastUsage = usage
    if (usage !== null) caller.usage = addUsage(caller.usage, usage)
    if (usage !== null && !usage.estimated)
      known = { tokens: usage.total_tokens, messages: context.messages.length + 1 }
    return result
  }
  return caller
}

/** Over any model's window. */
const MAX_CALL_TOKENS = 20_000_000

/** The provider's count; our estimate, marked, where the answer was cut off or came without one; null if none came. */
export function usageOf(pi: Pi, model: Model<Api>, context: TranscriptContext, result: CallResult): RunUsage | null {
  const { message, wire } = result
  const usage = isBelievable(message.usage) ? message.usage : emptyMessage(model, "error", "").usage
  const counted = usage.input + usage.cacheRead + usage.cacheWrite > 0
  const whole = message.stopReason !== "error" && message.stopReason !== "aborted"
  if (!whole && !counted) {
    const refused = (wire.status !== null && wire.status >= 400) || (wire.status === null && wire.failure !== null)
    if (refused && wire.failure?.kind !== "timeout") return null
  }
  if (whole && usage.input + usage.cacheRead + usage.cacheWrite + usage.output > 0) return toRunUsage(usage, false)
  const estimated = {
    ...usage,
    input: counted ? usage.input : likelyTokens(context.messages),
    output: Math.max(usage.output, likelyTextTokens(textOf(message))),
    cost: { ...usage.cost },
  }
  pi.calculateCost(model, estimated)
  return toRunUsage(estimated, true)
}

/** A provider can say anything; what no call can have used would spoil the sums and free the user of the limits. */
function isBelievable({ input, output, cacheRead, cacheWrite }: AssistantMessage["usage"]): boolean {
  return [input, output, cacheRead, cacheWrite].every((n) => Number.isInteger(n) && n >= 0 && n <= MAX_CALL_TOKENS)
}

function toRunUsage(usage: AssistantMessage["usage"], estimated: boolean): RunUsage {
  return {
    input_tokens: usage.input,
    output_tokens: usage.output,
    cache_read_tokens: usage.cacheRead,
    cache_write_tokens: usage.cacheWrite,
    total_tokens: usage.input + usage.output + usage.cacheRead + usage.cacheWrite,
    cost_usd: roundUsd(usage.cost.total),
    estimated,
  }
}

function textOf(message: AssistantMessage): string {
  return message.content
    .map((part) =>
      part.type === "text" ? part.text : part.type === "thinking" ? part.thinking : JSON.stringify(part.arguments),
    )
    .join("")
}

function emptyMessage(model: Model<Api>, stopReason: "aborted" | "error", errorMessage: string): AssistantMessage {
  const cost = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 }
  return {
    role: "assistant",
    content: [],
    api: model.api,
    provider: model.provider,
    model: model.id,
    usage: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, totalTokens: 0, cost },
    stopReason,
    errorMessage,
    timestamp: 0,
  }
}

/** False when it was cut short. */
function sleep(ms: number, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false)
  return new Promise((resolve) => {
    const end = (whole: boolean) => {
      clearTimeout(timer)
      signal.removeEventListener("abort", onAbort)
      resolve(whole)
    }
    const onAbort = () => end(false)
    const timer = setTimeout(end, ms, true)
    signal.addEventListener("abort", onAbort, { once: true })
  })
}
