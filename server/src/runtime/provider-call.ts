import type { Api, AssistantMessage, Model, SimpleStreamOptions, TranscriptContext } from "@earendil-works/pi-ai"
import { createGuardedFetch, type GuardedFetchError, type GuardedFetchOptions } from "../lib/guarded-fetch.ts"
import { markForSession } from "./cache-marks.ts"
import { RunFailure } from "./failure.ts"
import { withGuard } from "./guard.ts"
import type { ResolvedModel } from "./models.ts"
import type { Pi } from "./pi/load.ts"
import { MAX_ARGUMENT_BYTES, MAX_BYTES_PER_SECOND, MAX_CALLS_PER_MESSAGE, type RuntimeSettings } from "./settings.ts"
import { createStopWords } from "./stop-words.ts"
import { createWireFilter } from "./wire-filter.ts"

export interface CallRequest {
  context: TranscriptContext
  /** All that the provider may write, thinking included. */
  maxTokens: number
  thinking: "off" | "low" | "medium" | "high"
  stop: string[]
  /** Opaque; routes calls of one session to the same cache. */
  cacheKey: string
  signal: AbortSignal
  onText: (delta: string) => void
  onThinking: (delta: string) => void
}

/** How a call went on the wire, apart from what the client made of it. */
export interface Wire {
  /** Null when no answer came. */
  status: number | null
  retryAfterMs: number | null
  failure: GuardedFetchError | null
}

export interface CallResult {
  message: AssistantMessage
  wire: Wire
}

export interface CallDeps {
  pi: Pi
  resolved: ResolvedModel
  settings: RuntimeSettings
  /** See `GuardedFetchOptions.resolve`. */
  resolve?: GuardedFetchOptions["resolve"]
}

/** One request to a provider. Never throws for what the provider does: the message's `stopReason` tells. */
export async function callProvider(deps: CallDeps, request: CallRequest): Promise<CallResult> {
  const { resolved, settings } = deps
  const { model } = resolved
  const wire: Wire = { status: null, retryAfterMs: null, failure: null }
  const api = await loadApi(deps.pi, model.api)
  const guarded = createGuardedFetch({
    reach: resolved.reach,
    headersTimeoutMs: settings.headersTimeoutMs,
    idleTimeoutMs: settings.idleTimeoutMs,
    filter: createWireFilter,
    bytesPerSecond: MAX_BYTES_PER_SECOND,
    onFailure: (error) => {
      wire.failure ??= error
    },
    ...(deps.resolve === undefined ? {} : { resolve: deps.resolve }),
  })
  const fetch: typeof globalThis.fetch = async (input, init) => {
    let response = await guarded(input, init)
    const elsewhere = response.status === 404 ? underV1(input) : null
    if (elsewhere !== null) {
      // Where both are 404 the first stands: it may be the model that is not there.
      const { status, headers } = response
      const first = new Response(await response.text(), { status, headers })
      const second = await guarded(elsewhere, init)
      response = second.status === 404 ? first : second
    }
    wire.status = response.status
    wire.retryAfterMs = retryAfter(response.headers)
    return response
  }
  // A call that has been cancelled or that is silent for too long is left at once, even if its client is deaf to it.
  const abort = new AbortController()
  const signal = AbortSignal.any([request.signal, abort.signal])
  let last: AssistantMessage | null = null
  let left = false
  const leave = (reason: "aborted" | "error", text: string) => {
    left = true
    abort.abort()
    return ended(model, last, reason, text)
  }

  const words = request.stop.length > 0 && !takesStopWords(model.api) ? createStopWords(request.stop) : null
  let text = ""

  async function consume(): Promise<AssistantMessage> {
    const stream = withGuard(fetch, () =>
      api.streamSimple(model, request.context, options(deps, request, signal, fetch)),
    )
    for await (const event of stream) {
      if (left) break
      silence.refresh()
      if (event.type === "done") {
        request.onText(words?.end() ?? "")
        return checked(event.message)
      }
      if (event.type === "error") return shortened(event.error)
      last = event.partial
      if (event.type === "text_delta") {
        const next = words?.push(event.delta) ?? { show: event.delta, found: false }
        request.onText(next.show)
        text += words === null ? "" : next.show
        if (!next.found) continue
        left = true
        abort.abort()
        return { ...ended(model, null, "stop", ""), content: [{ type: "text", text }], rawStopReason: "stop_sequence" }
      }
      if (event.type === "thinking_delta") request.onThinking(event.delta)
    }
    return leave("error", "the stream ended early")
  }

  const { promise, resolve } = Promise.withResolvers<AssistantMessage>()
  const silenceMs = settings.headersTimeoutMs + settings.idleTimeoutMs
  const silence = setTimeout(() => resolve(leave("error", "the provider was silent for too long")), silenceMs)
  const onAbort = () => resolve(leave("aborted", "the call was cancelled"))
  if (request.signal.aborted) onAbort()
  else {
    request.signal.addEventListener("abort", onAbort, { once: true })
    consume().then(resolve, (error: unknown) =>
      resolve(leave("error", error instanceof Error ? error.message : String(error))),
    )
  }
  const message = await promise
  clearTimeout(silence)
  request.signal.removeEventListener("abort", onAbort)
  return { message, wire }
}

async function loadApi(pi: Pi, name: string) {
  const load = pi.apis[name]
  if (load === undefined) throw new RunFailure("invalid_request", `the model speaks ${name}, which is not supported`)
  return load()
}

function options(
  { pi, resolved }: CallDeps,
  request: CallRequest,
  signal: AbortSignal,
  fetch: typeof globalThis.fetch,
): SimpleStreamOptions {
  const { model } = resolved
  const divided = dividesTokens(model)
  const off = request.thinking === "off" || !model.reasoning || (divided && request.maxTokens < 3072)
  const level = off ? "off" : pi.clampThinkingLevel(model, request.thinking)
  const budget = divided && level !== "off" ? thinkingBudget(level, request.maxTokens) : 0
  const openCode = model.provider.startsWith("opencode") ? { "x-opencode-session": request.cacheKey } : {}
  return {
    apiKey: resolved.apiKey,
    signal,
    // Google's client takes the global fetch alone, which leads to the same one (see guard.ts).
    ...(model.api.startsWith("google-") || model.api.startsWith("bedrock-") ? {} : { fetch }),
    headers: { ...resolved.headers, ...openCode },
    // Azure's client would put what stands in the environment before the model's own.
    ...(model.api === "azure-openai-responses"
      ? { env: { AZURE_OPENAI_BASE_URL: model.baseUrl, AZURE_OPENAI_API_VERSION: "v1" } }
      : {}),
    maxTokens: request.maxTokens - budget,
    ...(level === "off" ? {} : { reasoning: level }),
    ...(budget === 0 ? {} : { thinkingBudgets: { minimal: budget, low: budget, medium: budget, high: budget } }),
    sessionId: request.cacheKey,
    cacheRetention: "short",
    transport: "sse",
    // Time limits and repeats are ours.
    timeoutMs: 1_800_000,
    maxRetries: 0,
    onPayload: (payload) => amended(payload, model.api, request.stop),
  }
}

/**
 * Anthropic's older models take a budget for thinking, which the library adds to the answer's limit; the grant is for
 * both, so it is divided here. Elsewhere there is one limit.
 */
function dividesTokens(model: Model<Api>): boolean {
  if (model.api !== "anthropic-messages" && model.api !== "bedrock-converse-stream") return false
  return !(model.compat !== undefined && "forceAdaptiveThinking" in model.compat && model.compat.forceAdaptiveThinking)
}

function thinkingBudget(level: string, maxTokens: number): number {
  const wanted = { minimal: 1024, low: 2048, medium: 8192 }[level] ?? 16_384
  return Math.min(wanted, Math.floor(maxTokens / 2))
}

const takesStopWords = (api: string) =>
  [
    "anthropic-messages",
    "openai-completions",
    "mistral-conversations",
    "google-generative-ai",
    "google-vertex",
  ].includes(api)

/** The last touch to a request's body, in each wire form's own words. */
function amended(payload: unknown, api: string, stop: string[]): unknown {
  if (typeof payload !== "object" || payload === null) return undefined
  const some = stop.length > 0
  switch (api) {
    case "anthropic-messages":
      return markForSession(some ? { ...payload, stop_sequences: stop } : { ...payload })
    case "openai-completions":
    case "mistral-conversations":
      return some ? { ...payload, stop } : undefined
    case "google-generative-ai":
    case "google-vertex": {
      const config = "config" in payload && typeof payload.config === "object" ? payload.config : {}
      return some ? { ...payload, config: { ...config, stopSequences: stop } } : undefined
    }
    default:
      return undefined
  }
}

/** Many servers have their API under `/v1` only, and many base URLs are given without it. */
function underV1(input: Parameters<typeof globalThis.fetch>[0]): URL | null {
  const url = new URL(input instanceof Request ? input.url : input)
  if (url.pathname !== "/chat/completions") return null
  url.pathname = "/v1/chat/completions"
  return url
}

function retryAfter(headers: Headers): number | null {
  const ms = headers.get("retry-after-ms")
  if (ms !== null && Number.isFinite(Number(ms))) return Number(ms)
  const value = headers.get("retry-after")
  if (value === null) return null
  const seconds = Number(value)
  const at = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - Date.now()
  return Number.isFinite(at) ? Math.max(0, at) : null
}

const MAX_DEPTH = 64

/** Providers that send a call whole pass by the wire's filter; the same limits hold for them. */
function checked(message: AssistantMessage): AssistantMessage {
  let calls = 0
  for (const part of message.content) {
    if (part.type !== "toolCall") continue
    calls++
    let reason: string | null = null
    if (calls > MAX_CALLS_PER_MESSAGE) reason = `more than ${MAX_CALLS_PER_MESSAGE} tool calls in one answer`
    else if (isDeeper(part.arguments, MAX_DEPTH)) reason = `tool arguments are over ${MAX_DEPTH} levels deep`
    else if (JSON.stringify(part.arguments).length > MAX_ARGUMENT_BYTES) {
      reason = `tool arguments are over the limit of ${MAX_ARGUMENT_BYTES / 1024} KiB`
    } else if (part.name.length > 128 || part.id.length > 1024) reason = "the name of a tool call is too long"
    if (reason !== null) return { ...message, content: [], stopReason: "error", errorMessage: reason }
  }
  return message
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1))
}

/** An error's text may quote a whole answer; all that is done with it later should be cheap. */
function shortened(message: AssistantMessage): AssistantMessage {
  return { ...message, errorMessage: message.errorMessage?.slice(0, 4000) ?? "" }
}

function ended(
  model: Model<Api>,
  last: AssistantMessage | null,
  stopReason: "aborted" | "error" | "stop",
  errorMessage: string,
): AssistantMessage {
  const cost = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 }
  const usage = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, totalTokens: 0, cost }
  return {
    role: "assistant",
    content: last?.content ?? [],
    api: model.api,
    provider: model.provider,
    model: model.id,
    usage: last?.usage ?? usage,
    stopReason,
    errorMessage,
    timestamp: 0,
  }
}
