import type { Credentials } from "../runtime/protocol.ts"
import type { Provider } from "../runtime/providers.ts"

/** Provider variables by their names; null: set, but not for the one who asks. */
export type Values = ReadonlyMap<string, string | null>

export type CredentialsOrProblem =
  | { credentials: Credentials; problem: null; hasBaseUrl?: boolean }
  | { credentials: null; problem: string; hasBaseUrl?: boolean }

/**
 * Key and base URL of a provider from ONE owner: where the user has set either of them, nothing of the platform's is
 * used. `problem` says what is missing.
 */
export function credentialsOf(provider: Provider, user: Values, platform: Values): CredentialsOrProblem {
  const { keyVariables, baseUrlVariable } = provider
  const isUsers = keyVariables.some((name) => user.has(name)) || (baseUrlVariable !== null && user.has(baseUrlVariable))
  const owner = isUsers ? "user" : "platform"
  const values = owner === "user" ? user : platform
  const apiKey = keyVariables.map((name) => values.get(name)).find((value) => value) ?? null
  const baseUrl = (baseUrlVariable === null ? null : values.get(baseUrlVariable)) ?? null
  const hasBaseUrl = baseUrl !== null
  const problem = problemOf(provider, owner, apiKey, baseUrl)
  if (problem !== null) return { credentials: null, problem, hasBaseUrl }
  return { credentials: { owner, apiKey, baseUrl, headers: {} }, problem: null, hasBaseUrl }
}

function problemOf(
  provider: Provider,
  owner: Credentials["owner"],
  apiKey: string | null,
  baseUrl: string | null,
): string | null {
  if (apiKey === null) return `secret ${provider.keyVariables[0]} is not set`
  if (baseUrl === null) return provider.baseUrlRequired ? `secret ${provider.baseUrlVariable} is not set` : null
  if (owner === "platform") return null
  if (!provider.userBaseUrl) return `${provider.id} cannot be used with a base URL of your own`
  // Where the address leads is judged at each connection; here only what no connection could mend.
  if (URL.parse(baseUrl.trim())?.protocol !== "https:")
    return `${provider.baseUrlVariable} must be a public https address, like https://models.example.com/v1`
  return null
}
