import { createRedactor } from "../lib/redact.ts"

/** What looks like a key of a provider, also one that was shortened or starred by the provider itself. */
const LOOKS_LIKE_KEY =
  /\b(?:sk|pk|rk|gsk|xai|hf|nvapi|fw|csk|tgp|glpat|ghp|gho|ghu|ghs|atn|r8|pplx|key)[-_][\w.*-]{6,}|\bAIza[\w-]{10,}|\bAKIA[A-Z0-9]{12,}|\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]+)?/g
const AFTER_A_LABEL =
  /(\bbearer\s+|(?:x-api-key|api[-_ ]?key|authorization|token|secret)["']?\s*[:=]\s*["']?)(?!\[key\]|bearer\b)([\w.~+/*-]{12,}={0,2})/gi

/** Replaces keys by `[key]`: those that are known, also in base64, hex, URL or JSON form, and whatever looks like one. */
export function scrubKeys(text: string, known: readonly string[]): string {
  let clean = createRedactor(known.map((value) => ({ name: "key", value })))
    .text(text)
    .replaceAll("[secret key]", "[key]")
  // Shorter ones are not masked elsewhere, where a false hit would do harm.
  for (const key of known) if (key.length >= 4 && key.length < 8) clean = clean.replaceAll(key, "[key]")
  return clean.replace(LOOKS_LIKE_KEY, "[key]").replace(AFTER_A_LABEL, "$1[key]")
}
