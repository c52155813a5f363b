import type { Api, Model } from "@earendil-works/pi-ai"
import type { ResolvedModel } from "./models.ts"
import type { CallResult } from "./provider-call.ts"
import { scrubKeys } from "./scrub.ts"
import type { RuntimeSettings } from "./settings.ts"

const RETRY_STATUS = new Set([408, 409, 425, 429])
/** Of the account, not of the moment: asking again changes nothing. */
const FINAL = /insufficient_quota|billing|credit balance|payment required|exceeded your current quota/i
/** The address is wrong or nobody listens there. */
const UNREACHABLE =
  /ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|CERT|certificate|self.signed|not a public address/i

/** How long to pause before the next try, in ms; null when another try is of no use. */
export function shouldRetry(result: CallResult, tries: number, settings: RuntimeSettings): number | null {
  const { wire, message } = result
  const reason = message.errorMessage ?? ""
  if (tries >= settings.maxRetries) return null
  if (wire.failure !== null && (wire.failure.kind !== "network" || UNREACHABLE.test(wire.failure.message))) return null
  const broken = wire.failure !== null || (wire.status !== null && wire.status < 300 && isBroken(reason))
  const busy = wire.status !== null && (RETRY_STATUS.has(wire.status) || wire.status >= 500)
  if (!(broken || (busy && !FINAL.test(reason)))) return null
  if (wire.retryAfterMs !== null && busy) {
    return wire.retryAfterMs <= settings.retryAfterMaxMs ? Math.max(wire.retryAfterMs, 1) : null
  }
  return settings.retryBaseMs * 2 ** tries * (1 - Math.random() / 4)
}

/** A stream that began well and ended otherwise than with its last event, or with the provider's own word of trouble. */
function isBroken(reason: string): boolean {
  return /stream ended|ended (?:early|before|without)|terminated|socket|ECONNRESET|aborted|premature|overloaded|api_error|server_error|internal|unexpected end|not valid JSON|parse/i.test(
    reason,
  )
}

/** Why the provider failed, in its own words, without keys; goes to the user. */
export function providerReason(resolved: ResolvedModel | null, model: Model<Api>, result: CallResult): string {
  const { wire, message } = result
  const said = wire.failure?.message ?? ownWords(message.errorMessage ?? "")
  const status = wire.status !== null && wire.status >= 400 ? ` (${wire.status})` : ""
  const verb = wire.status !== null && wire.status >= 400 && wire.status < 500 ? "refused" : "failed"
  const wait =
    wire.status === 429 && wire.retryAfterMs !== null ? `; try again in ${Math.ceil(wire.retryAfterMs / 1000)} s` : ""
  const text = `${model.provider} ${verb}${status}: ${said}${wait}`
  return scrubKeys(text, resolved?.secrets ?? []).slice(0, 600)
}

/** The sentence inside `401 {"type":"error","error":{"type":"…","message":"…"}}`, if there is one. */
function ownWords(text: string): string {
  const brace = text.indexOf("{")
  if (brace !== -1) {
    try {
      const found = findMessage(JSON.parse(text.slice(brace, text.lastIndexOf("}") + 1)))
      if (found !== null) return found
    } catch {
      // Not JSON after all: the text stands as it is.
    }
  }
  return text.replace(/\s+/g, " ").trim() || "no reason given"
}

function findMessage(value: unknown): string | null {
  if (typeof value !== "object" || value === null) return null
  if ("message" in value && typeof value.message === "string") return value.message
  for (const inner of [("error" in value && value.error) || null, ("detail" in value && value.detail) || null]) {
    if (typeof inner === "string") return inner
    const found = findMessage(inner)
    if (found !== null) return found
  }
  return null
}
