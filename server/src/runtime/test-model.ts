import { RunFailure } from "./failure.ts"
import { resolveModel } from "./models.ts"
import type { Credentials } from "./protocol.ts"
import { type CallDeps, callProvider } from "./provider-call.ts"
import { providerReason } from "./provider-error.ts"

/** One smallest real call: is there a model behind this name, and does it take this key? */
export async function testModel(
  name: string,
  credentials: Credentials,
  deps: Omit<CallDeps, "resolved">,
): Promise<{ ok: boolean; error?: string }> {
  if (name === "demo/demo") return { ok: true }
  try {
    const resolved = await resolveModel(name, credentials)
    const result = await callProvider(
      { ...deps, resolved },
      {
        context: deps.pi.normalizeContext({
          messages: [{ role: "user", content: "Reply with: OK", timestamp: 0 }],
        }),
        maxTokens: 32,
        thinking: "off",
        stop: [],
        cacheKey: "test",
        signal: AbortSignal.timeout(60_000),
        onText: () => {},
        onThinking: () => {},
      },
    )
    const failed = result.message.stopReason === "error" || result.message.stopReason === "aborted"
    return failed ? { ok: false, error: providerReason(resolved, resolved.model, result) } : { ok: true }
  } catch (error) {
    if (error instanceof RunFailure) return { ok: false, error: error.message }
    throw error
  }
}
