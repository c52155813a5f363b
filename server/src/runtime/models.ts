import type { Api, Model } from "@earendil-works/pi-ai"
import { modelsOf } from "./catalogue.ts"
import { RunFailure } from "./failure.ts"
import type { Credentials } from "./protocol.ts"
import { findProvider, type Provider, splitModel } from "./providers.ts"

export interface ResolvedModel {
  provider: Provider
  model: Model<Api>
  /** The catalogue knows it, and so its price. */
  isCatalogued: boolean
  apiKey: string
  /** Null takes out a header that the client would send by itself. */
  headers: Record<string, string | null>
  /** Who gave the address: a tenant's is judged at each connection. */
  reach: "public" | "any"
  /** Known values that must never be shown. */
  secrets: string[]
}

/**
 * Which model, at which address, with which key. Key, address and headers all come from the one owner that
 * `credentials` is of; the address is the catalogue's where the owner has set none.
 * Errors: `RunFailure` that says what is missing.
 */
export async function resolveModel(name: string, credentials: Credentials): Promise<ResolvedModel> {
  const parts = splitModel(name)
  const provider = parts === null ? undefined : findProvider(parts.provider)
  if (parts === null || provider === undefined) throw new RunFailure("invalid_request", `unknown model ${quote(name)}`)
  const keyVariable = provider.keyVariables[0] ?? ""
  const apiKey = checkKey(credentials.apiKey, keyVariable)
  const baseUrl = credentials.baseUrl?.trim() ? checkBaseUrl(credentials.baseUrl.trim(), provider) : null
  if (baseUrl !== null && credentials.owner === "user" && !provider.userBaseUrl) {
    throw new RunFailure("failed_dependency", `${provider.id} cannot be used with a base URL of your own`)
  }
  if (baseUrl === null && provider.baseUrlRequired) {
    throw new RunFailure("failed_dependency", `secret ${provider.baseUrlVariable ?? ""} is not set`)
  }

  const models = await modelsOf(provider.id)
  const known = models.get(parts.id)
  if (known === undefined && baseUrl === null) {
    throw new RunFailure("invalid_request", `unknown model ${quote(name)}`)
  }
  const model = known === undefined ? offCatalogue(provider, parts.id, [...models.values()]) : { ...known }
  if (baseUrl !== null) applyBaseUrl(model, baseUrl, known !== undefined)
  return {
    provider,
    model,
    isCatalogued: known !== undefined,
    apiKey,
    headers: requestHeaders(provider, apiKey, credentials.headers),
    reach: baseUrl !== null && credentials.owner === "user" ? "public" : "any",
    secrets: [apiKey, ...Object.values(credentials.headers)].filter((secret) => secret !== ""),
  }
}

function checkKey(key: string | null, variable: string): string {
  const trimmed = key?.trim() ?? ""
  if (trimmed === "") throw new RunFailure("failed_dependency", `secret ${variable} is not set`)
  // A placeholder makes Google's client look for the machine's own credentials instead.
  if (!/^[\x21-\x7e]+$/.test(trimmed) || /^<.*>$/.test(trimmed) || trimmed === "gcp-vertex-credentials") {
    throw new RunFailure("failed_dependency", `secret ${variable} does not hold a key`)
  }
  if (trimmed.includes("sk-ant-oat")) {
    throw new RunFailure("failed_dependency", `secret ${variable} holds a subscription's token; an API key is needed`)
  }
  return trimmed
}

function checkBaseUrl(text: string, provider: Provider): string {
  const url = URL.parse(text)
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    throw new RunFailure("failed_dependency", `${provider.baseUrlVariable ?? "the base URL"} is not a URL`)
  }
  url.hash = ""
  return url.href.replace(/\/+$/, "")
}

/** Some clients put `/v1` in front of their paths and others expect it in the base; both spellings are taken. */
function applyBaseUrl(model: Model<Api>, baseUrl: string, known: boolean): void {
  const bare = baseUrl.replace(/\/v1$/, "")
  if (model.provider === "openai") {
    // What stands behind such an address nearly always speaks chat completions, and seldom OpenAI's newer form.
    model.api = "openai-completions"
    model.compat = {
      supportsStore: false,
      supportsDeveloperRole: false,
      supportsReasoningEffort: known,
      maxTokensField: known ? "max_completion_tokens" : "max_tokens",
    }
  }
  if (model.provider === "cloudflare-ai-gateway") {
    const paths: Record<string, string> = { "anthropic-messages": "anthropic", "openai-responses": "openai" }
    const path = paths[model.api] ?? "compat"
    model.baseUrl = `${baseUrl}/${path}`
  } else if (model.api === "anthropic-messages" || model.api === "mistral-conversations") {
    model.baseUrl = bare
  } else {
    model.baseUrl = baseUrl
  }
}

/** A model of which nothing is known but its name: no price, and a window that most servers have. */
function offCatalogue(provider: Provider, id: string, models: Model<Api>[]): Model<Api> {
  const apis = new Set(models.map((model) => model.api))
  const only = apis.size === 1 ? models[0]?.api : undefined
  return {
    id,
    name: id,
    api: only ?? "openai-completions",
    provider: provider.id,
    baseUrl: "",
    reasoning: false,
    input: ["text", "image"],
    cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 },
    contextWindow: 128_000,
    maxTokens: 128_000,
  }
}

function requestHeaders(
  provider: Provider,
  apiKey: string,
  given: Record<string, string>,
): Record<string, string | null> {
  // OpenAI's client would take these two from the environment.
  const own = { "OpenAI-Organization": null, "OpenAI-Project": null }
  const headers = { "User-Agent": "autonomis/0.1", ...own, ...given }
  if (provider.id !== "cloudflare-ai-gateway") return headers
  return { ...headers, "cf-aig-authorization": `Bearer ${apiKey}`, Authorization: null, "x-api-key": null }
}

const quote = (name: string) => JSON.stringify(name.slice(0, 100))
