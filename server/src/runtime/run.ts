import type { AgentEvent, AgentLoopConfig, AgentMessage } from "@earendil-works/pi-agent-core"
import type { Api, AssistantMessage, Message, Model, SystemMessage } from "@earendil-works/pi-ai"
import type { RunPort } from "./border.ts"
import { compact, MANY_MESSAGES, reserveOf } from "./compaction.ts"

import { type LoadedMessage, loadHistory, stopReason, storeAssistant, storeToolResult, textOf } from "./convert.ts"
import { DEMO_MODEL, type DemoBudget, demoModel, demoReply } from "./demo-model.ts"
import { bytesAlive } from "./estimate.ts"
import { RunFailure } from "./failure.ts"
import { createJoiner } from "./joiner.ts"
import { type CallSink, createModelCaller, type ModelCaller } from "./model-caller.ts"
import { resolveModel } from "./models.ts"
import type { Pi } from "./pi/load.ts"
import { buildPrompt } from "./prompt.ts"
import type { RunOutcome, RunSpec } from "./protocol.ts"
import { type CallDeps, callProvider } from "./provider-call.ts"
import { MAX_RUN_BYTES, MAX_TOOL_IMAGE_BYTES, type RuntimeSettings } from "./settings.ts"
import { summarize } from "./summarize.ts"
import { createTools } from "./tools/index.ts"
import { NO_USAGE } from "./usage.ts"

export interface RunDeps {
  pi: Pi
  settings: RuntimeSettings
  demoBudget: DemoBudget
  resolve?: CallDeps["resolve"]
}

/** Carries out one run: model calls and tool calls in turn, until the model is done. Never throws. */
export async function executeRun(
  spec: RunSpec,
  port: RunPort,
  deps: RunDeps,
  signal: AbortSignal,
): Promise<RunOutcome> {
  let caller: ModelCaller | null = null
  try {
    const made = await createCaller(spec, port, deps)
    caller = made.caller
    return await converse(spec, port, deps, made.model, made.caller, signal)
  } catch (error) {
    const usage = caller?.usage ?? NO_USAGE
    if (signal.aborted) return { type: "cancelled", usage }
    if (!(error instanceof RunFailure)) throw error
    const { code, message, extra } = error
    return { type: "failed", code, message, ...(extra === undefined ? {} : { extra }), usage }
  }
}

async function createCaller(spec: RunSpec, port: RunPort, deps: RunDeps) {
  const { pi, settings } = deps
  const demo = spec.model === DEMO_MODEL
  const resolved = demo ? null : await resolveModel(spec.model, spec.credentials)
  const model: Model<Api> = resolved?.model ?? demoModel
  const caller = createModelCaller({
    pi,
    port,
    model,
    resolved,
    name: spec.model,
    owner: spec.credentials.owner,
    settings,
    known: lastCount(spec),
    async send(context, sink, signal) {
      if (resolved === null) return demoReply(spec, deps.demoBudget, context.messages, sink, signal)
      const { thinking, stop, cacheKey } = spec
      const { onText, onThinking, maxTokens } = sink
      return callProvider(
        { pi, resolved, settings, ...(deps.resolve === undefined ? {} : { resolve: deps.resolve }) },
        { context, maxTokens, thinking, stop, cacheKey, signal, onText, onThinking },
      )
    },
  })
  return { caller, model }
}

/** What the provider counted at the session's last call, and the number of messages (system and answer included) that it was for. */
function lastCount(spec: RunSpec): { tokens: number; messages: number } | null {
  const last = spec.history.findLastIndex(({ message }) => message.role === "assistant")
  const answer = spec.history[last]?.message
  if (answer?.role !== "assistant" || answer.model !== spec.model) return null
  if (answer.usage !== null && !answer.usage.estimated) return { tokens: answer.usage.total_tokens, messages: last + 2 }
  return spec.lastInputTokens === null ? null : { tokens: spec.lastInputTokens, messages: last + 2 }
}

async function converse(
  spec: RunSpec,
  port: RunPort,
  deps: RunDeps,
  model: Model<Api>,
  caller: ModelCaller,
  signal: AbortSignal,
): Promise<RunOutcome> {
  const { pi } = deps
  const text = createJoiner((delta) => port.emit({ type: "message.delta", delta }))
  const thinking = createJoiner((delta) => port.emit({ type: "thinking.delta", delta }))
  const flush = () => {
    thinking.flush()
    text.flush()
  }
  const maxTokens = Math.min(spec.maxOutputTokens, model.maxTokens || spec.maxOutputTokens)
  const sink: CallSink = {
    maxTokens,
    onText(delta) {
      thinking.flush()
      text.push(delta)
    },
    onThinking(delta) {
      text.flush()
      thinking.push(delta)
    },
    onReset(reason) {
      flush()
      port.emit({ type: "message.reset", reason })
    },
  }

  const outputs = new Map<string, ReturnType<typeof createJoiner>>()
  const starts = new Map<string, number>()
  const durations = new Map<string, number>()
  let imageBytes = MAX_TOOL_IMAGE_BYTES
  const tools = createTools(spec.tools, {
    pi,
    hands: port.hands,
    images: model.input.includes("image"),
    onOutput: (id, chunk) => outputs.get(id)?.push(chunk),
    takeImageBytes(bytes) {
      imageBytes -= bytes
      return imageBytes >= 0
    },
  })
  const system: SystemMessage = {
    role: "system",
    content: buildPrompt(spec.prompt, (skills) =>
      pi.formatSkillsForSystemPrompt(
        skills.map(({ name, description, path }) => ({ name, description, filePath: path, content: "" })),
      ),
    ),
    toolsAdded: tools.map(({ name, description, parameters }) => ({ name, description, parameters })),
    timestamp: 0,
  }

  // The one list of what the model is given; the loop's own is made from it.
  let history: LoadedMessage[] = loadHistory(spec, model)
  let alive = history.reduce((sum, { message }) => sum + bytesAlive(message), 0)
  const whole = (): Message[] => [system, ...history.map(({ message }) => message)]

  async function makeRoom(): Promise<boolean> {
    const compacted = await compact(history, {
      contextWindow: model.contextWindow,
      serialize: (messages) => pi.serializeConversation(messages).slice(0, model.contextWindow * 2),
      summarize: (prompt) => summarize(pi, caller, model, prompt, signal),
    })
    if (compacted === null) return false
    history = compacted.messages
    caller.forget()
    const { summary, coversToSeq } = compacted
    port.emit({ type: "message", message: { v: 1, role: "summary", text: summary, covers_to_seq: coversToSeq } })
    return true
  }

  /** Only for the sake of speed, so that a failure stops nobody; the demo's script needs no summary. */
  let mayShorten = spec.model !== DEMO_MODEL
  async function makeShorter(): Promise<boolean> {
    if (!mayShorten || history.length <= MANY_MESSAGES) return false
    mayShorten = false
    try {
      return await makeRoom()
    } catch (error) {
      if (signal.aborted || !(error instanceof RunFailure)) throw error
      return false
    }
  }

  let turns = 0
  let stoppedBy: "max_turns" | null = null
  const config: AgentLoopConfig = {
    model,
    convertToLlm: (messages) => messages.filter(isMessage),
    // One after the other, in the model's order: they share a workspace.
    toolExecution: "sequential",
    async prepareRequest({ context }) {
      const room = model.contextWindow - reserveOf(model.contextWindow, maxTokens)
      if (model.contextWindow <= 0) return undefined
      const made = caller.expectedTokens(whole()) <= room ? await makeShorter() : await makeRoom()
      return made ? { context: { ...context, messages: whole() } } : undefined
    },
    finishTurn({ toolResults }) {
      turns++
      if (toolResults.length > 0 && turns >= spec.maxTurns) {
        stoppedBy = "max_turns"
        return { action: "end" }
      }
      return undefined
    },
  }

  function onEvent(event: AgentEvent) {
    switch (event.type) {
      case "message_end": {
        const { message } = event
        if (message.role === "assistant") {
          flush()
          const stopped = message.stopReason === "error" || message.stopReason === "aborted"
          if (stopped && textOf(message) === "") return
          // Calls in a message that was cut off may be half, and were not carried out.
          const whole = stopped
            ? { ...message, content: message.content.filter((part) => part.type === "text") }
            : message
          keep(whole)
          port.emit({ type: "message", message: storeAssistant(whole, spec.model, caller.lastUsage) })
        } else if (message.role === "toolResult") {
          keep(message)
          const durationMs = durations.get(message.toolCallId) ?? 0
          port.emit({ type: "message", message: storeToolResult(message, durationMs) })
        }
        return
      }
      case "tool_execution_start": {
        const { toolCallId: id, toolName: name, args } = event
        starts.set(id, performance.now())
        outputs.set(
          id,
          createJoiner((delta) => port.emit({ type: "tool.output", id, delta })),
        )
        port.emit({ type: "tool.started", id, name, arguments: args })
        return
      }
      case "tool_execution_end": {
        const { toolCallId: id, isError } = event
        outputs.get(id)?.flush()
        outputs.delete(id)
        const durationMs = Math.round(performance.now() - (starts.get(id) ?? performance.now()))
        durations.set(id, durationMs)
        port.emit({ type: "tool.finished", id, isError, durationMs, result: shownResult(event.result) })
      }
    }
  }

  function keep(message: Message) {
    history.push({ seq: null, message })
    alive += bytesAlive(message)
    if (alive > MAX_RUN_BYTES) throw new RunFailure("too_large", "the conversation has grown too large for one run")
  }

  const streamFn = async (_model: Model<Api>, context: Parameters<ModelCaller["call"]>[0]) => {
    const stream = pi.createAssistantMessageEventStream()
    const message = await caller.call(context, sink, signal)
    if (message.stopReason === "error" || message.stopReason === "aborted") {
      stream.push({ type: "error", reason: message.stopReason, error: message })
    } else if (message.stopReason !== "pending") {
      stream.push({ type: "done", reason: message.stopReason, message })
    }
    stream.end(message)
    return stream
  }

  let last: AssistantMessage | undefined
  for (let overflows = 0; ; ) {
    const context = { messages: whole(), tools }
    const added = await pi.runAgentLoopContinue(context, config, onEvent, signal, streamFn)
    last = added.findLast(isAssistant)
    flush()
    if (!caller.overflowed || overflows++ > 0 || signal.aborted || !(await makeRoom())) break
  }
  const { usage } = caller
  if (signal.aborted || last?.stopReason === "aborted") return { type: "cancelled", usage }
  if (caller.failure !== null) throw caller.failure
  if (last === undefined || last.stopReason === "error") {
    throw new RunFailure("failed_dependency", last?.errorMessage ?? "the model gave no answer")
  }
  return { type: "succeeded", text: textOf(last), stopReason: stoppedBy ?? stopReason(last), usage }
}

/** The first 2 KiB, for readers. */
function shownResult(result: unknown): string {
  if (typeof result !== "object" || result === null) return ""
  const content = "content" in result && Array.isArray(result.content) ? result.content : []
  const text = content.map((part) => (part.type === "text" ? part.text : `[${part.mimeType}]`)).join("\n")
  const details: unknown = "details" in result ? result.details : null
  const shown =
    typeof details === "object" && details !== null && "shown" in details && typeof details.shown === "string"
      ? `\n${details.shown}`
      : ""
  return Buffer.from(text + shown)
    .subarray(0, 2048)
    .toString("utf8")
    .replace(/\uFFFD$/, "")
}

function isMessage(message: AgentMessage): message is Message {
  return ["system", "user", "assistant", "toolResult"].includes(message.role)
}

function isAssistant(message: AgentMessage): message is AssistantMessage {
  return message.role === "assistant"
}
