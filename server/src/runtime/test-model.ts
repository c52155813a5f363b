import { RunFailure } from "./failure.ts"
import { usageOf } from "./model-caller.ts"
import { resolveModel } from "./models.ts"
import { type Credentials, type ModelTest, TEST_CALL } from "./protocol.ts"
import { type CallDeps, callProvider } from "./provider-call.ts"
import { providerReason } from "./provider-error.ts"

/** One smallest real call: is there a model behind this name, and does it take this key? */
export async function testModel(
  name: string,
  credentials: Credentials,
  deps: Omit<CallDeps, "resolved">,
): Promise<ModelTest> {
  if (name === "demo/demo") return { ok: true, usage: null }
  try {
    const resolved = await resolveModel(name, credentials)
    const context = deps.pi.normalizeContext({ messages: [{ role: "user", content: "Reply with: OK", timestamp: 0 }] })
    const result = await callProvider(
      { ...deps, resolved },
      {
        context,
        maxTokens: TEST_CALL.maxTokens,
        thinking: "off",
        stop: [],
        cacheKey: "test",
        signal: AbortSignal.timeout(60_000),
        onText: () => {},
        onThinking: () => {},
      },
    )
    const failed = result.message.stopReason === "error" || result.message.stopReason === "aborted"
    const usage = usageOf(deps.pi, resolved.model, context, result)
    return failed ? { ok: false, error: providerReason(resolved, resolved.model, result), usage } : { ok: true, usage }
  } catch (error) {
    if (error instanceof RunFailure) return { ok: false, error: error.message, usage: null }
    throw error
  }
}
