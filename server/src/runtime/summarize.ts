import type { Api, Model } from "@earendil-works/pi-ai"
import { SUMMARY_SYSTEM } from "./compaction.ts"
import { textOf } from "./convert.ts"
import { RunFailure } from "./failure.ts"
import type { ModelCaller } from "./model-caller.ts"
import type { Pi } from "./pi/load.ts"

/** One call of the run's own model, reserved and settled like any other. Errors: `RunFailure`. */
export async function summarize(pi: Pi, caller: ModelCaller, model: Model<Api>, prompt: string, signal: AbortSignal) {
  const nothing = () => {}
  const context = pi.normalizeContext({
    systemPrompt: SUMMARY_SYSTEM,
    messages: [{ role: "user", content: prompt, timestamp: 0 }],
  })
  caller.forget()
  const sink = {
    maxTokens: Math.min(8192, model.maxTokens || 8192),
    onText: nothing,
    onThinking: nothing,
    onReset: nothing,
  }
  const message = await caller.call(context, sink, signal)
  caller.forget()
  const text = textOf(message).trim()
  if (message.stopReason === "aborted") throw new RunFailure("cancelled", "the run was cancelled")
  if (message.stopReason === "error" || text === "") {
    throw (
      caller.failure ?? new RunFailure("failed_dependency", "the conversation is too long and could not be summarized")
    )
  }
  return text
}
