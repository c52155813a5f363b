import type { ErrorCode } from "@autonomis/contract/errors.ts"
import type { ExecRequest, ExecResult, HandsErrorKind, HandsFile, HandsStat } from "./hands.ts"
import type { RunUsage, TranscriptMessage } from "./transcript.ts"

/**
 * The border between the main thread and a runtime worker: plain data only, no function, handle or signal crosses it.
 * The worker names a run; what the run may touch (its agent, sandbox, budget) is looked up on the main thread's side.
 */

/** Key, base URL and headers of a provider come from ONE owner. `baseUrl` of a user is judged at each connection. */
export interface Credentials {
  owner: "platform" | "user"
  apiKey: string | null
  baseUrl: string | null
  headers: Record<string, string>
}

/** What the system prompt is made of, frozen per session; `prompt.ts` puts it in order, stable to the byte. */
export interface PromptParts {
  agentName: string
  agentDescription: string | null
  soul: string
  user: string
  tools: string
  /** Text of MEMORY.md, at most 64 KiB; "" when there is none. */
  memory: string
  skills: { name: string; description: string; path: string }[]
  /** The client's own system message, as a further instruction; null when none. */
  instruction: string | null
}

export interface RunSpec {
  runId: string
  userId: string
  agentId: string
  /** Opaque hash of user and session: the provider's cache key. */
  cacheKey: string
  /** `provider/model`, e.g. `anthropic/claude-sonnet-4-5`, `demo/demo`. */
  model: string
  credentials: Credentials
  prompt: PromptParts
  /** Date, zone and what changed since the snapshot; goes into the newest user message only. */
  context: string
  /** From the last summary on; the newest message last. Images carry their bytes. */
  history: { seq: number; message: TranscriptMessage }[]
  /** Names of the tools that are on. */
  tools: string[]
  thinking: "off" | "low" | "medium" | "high"
  maxTurns: number
  maxOutputTokens: number
  stop: string[]
  /** The provider's own count of input tokens at the session's last call; corrects our estimate. Null on a new one. */
  lastInputTokens: number | null
}

/** What a run tells while it goes on. `message` and `tool.*` are boundaries: durable. The rest is live only. */
export type RunEvent =
  | { type: "message.delta"; delta: string }
  | { type: "thinking.delta"; delta: string }
  | { type: "message.reset"; reason: string }
  /** A whole message of the history, to be appended in this order (assistant, tool, summary). */
  | { type: "message"; message: TranscriptMessage }
  | { type: "tool.started"; id: string; name: string; arguments: Record<string, unknown> }
  | { type: "tool.output"; id: string; delta: string }
  | { type: "tool.finished"; id: string; isError: boolean; durationMs: number; result: string }

/** The last word of every run; exactly one. */
export type RunOutcome =
  | { type: "succeeded"; text: string; stopReason: string; usage: RunUsage }
  | { type: "cancelled"; usage: RunUsage }
  | { type: "failed"; code: ErrorCode; message: string; extra?: Record<string, unknown>; usage: RunUsage }

/** The worst case of one model call, asked for before it. */
export interface ReserveRequest {
  model: string
  credentialsOwner: "platform" | "user"
  inputTokens: number
  maxTokens: number
  /** USD per million tokens. */
  price: { input: number; output: number; cacheRead: number; cacheWrite: number }
  /** False for a model off the catalogue: then `price` says nothing. */
  isPriceKnown: boolean
}

export type ReserveAnswer =
  | { ok: true; maxTokens: number }
  | { ok: false; code: ErrorCode; message: string; extra?: Record<string, unknown> }

export type HandsCall =
  | { method: "exec"; request: ExecRequest }
  | { method: "readFile"; path: string; range: { offset: number; length: number } | null }
  | { method: "writeFile"; path: string; data: Uint8Array }
  | { method: "stat"; path: string }
  | { method: "list"; path: string }
  | { method: "mkdir"; path: string }
  | { method: "remove"; path: string; recursive: boolean }
  | { method: "rename"; from: string; to: string }

/** What a hands call came to; `method` is that of the call. */
export type HandsValue =
  | { method: "exec"; result: ExecResult }
  | { method: "readFile"; result: HandsFile }
  | { method: "stat"; result: HandsStat }
  | { method: "list"; result: (HandsStat & { name: string })[] }
  | { method: "writeFile" | "mkdir" | "remove" | "rename"; result: null }

/** A model of the catalogue, for `GET models` and for judging names. Prices in USD per million tokens. */
export interface CatalogueModel {
  id: string
  provider: string
  contextWindow: number
  maxOutputTokens: number
  images: boolean
  reasoning: boolean
  price: { input: number; output: number; cacheRead: number; cacheWrite: number }
}

/** How a model's smallest call went, and what it took; `usage` null: it never reached the provider. */
export interface ModelTest {
  ok: boolean
  error?: string
  usage: RunUsage | null
}

/** What the smallest call may take: the worst case to ask for before it. */
export const TEST_CALL = { inputTokens: 64, maxTokens: 32 }

export type ToWorker =
  | { type: "run"; spec: RunSpec }
  | { type: "cancel"; runId: string }
  | { type: "hands.output"; callId: number; chunk: string }
  | { type: "hands.result"; callId: number; value: HandsValue }
  | { type: "hands.error"; callId: number; kind: HandsErrorKind; message: string }
  | { type: "reserve.answer"; callId: number; answer: ReserveAnswer }
  | { type: "settle.done"; callId: number }
  | { type: "catalogue"; callId: number }
  | { type: "test-model"; callId: number; model: string; credentials: Credentials }
  | { type: "ping"; callId: number }

export type FromWorker =
  | { type: "ready" }
  | { type: "event"; runId: string; event: RunEvent }
  | { type: "finished"; runId: string; outcome: RunOutcome }
  | { type: "hands.call"; runId: string; callId: number; call: HandsCall }
  | { type: "hands.cancel"; callId: number }
  | { type: "reserve"; runId: string; callId: number; request: ReserveRequest }
  /** `usage` null: the call was given up before it reached the provider; the reservation is let go. */
  | { type: "settle"; runId: string; callId: number; reserveCallId: number; usage: RunUsage | null }
  | { type: "catalogue.answer"; callId: number; models: CatalogueModel[] }
  | { type: "test-model.answer"; callId: number; result: ModelTest }
  /** Instead of an answer to `catalogue` or `test-model`: the worker itself failed. */
  | { type: "call.failed"; callId: number }
  | { type: "pong"; callId: number }
  /** For the server's log; holds no key. */
  | { type: "log"; level: "warn" | "error"; message: string }
