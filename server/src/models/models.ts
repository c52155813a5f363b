import type { Model } from "@autonomis/contract/models.ts"
import { type Awaitable, whenThere } from "../lib/awaitable.ts"
import type { Clock } from "../lib/clock.ts"
import { AppError } from "../lib/errors.ts"
import type { Logger } from "../lib/log.ts"
import type { Runtime } from "../runtime/client.ts"
import type { CatalogueModel, Credentials, ModelTest } from "../runtime/protocol.ts"
import { findProvider, PROVIDERS, type Provider, splitModel } from "../runtime/providers.ts"
import { type CredentialsOrProblem, credentialsOf, type Values } from "./credentials.ts"
import type { TestCall } from "./test-call.ts"

export const DEMO_MODEL = "demo/demo"

export interface Wanted {
  userId: string
  /** Whose message it is: a user's key may be given to some agents only. */
  agentId?: string
  /** `provider/model`; null: the default. */
  wanted: string | null
}

export interface ResolvedModel {
  model: string
  credentials: Credentials
}

/** What a user's agents can use, by one look at the user's keys. Asks nobody. */
export interface UserModels {
  /** The model that a message would use, whether or not it could be used. */
  effective(wanted: Omit<Wanted, "userId">): string
  /** Why the model could not be used now, in words for its user; null when it could. */
  problem(wanted: Omit<Wanted, "userId">): string | null
}

export interface Models {
  of(userId: string): Awaitable<UserModels>
  /** With key and base URL of the one owner. 400 for a model that nobody knows, 424 for one whose key is not set. */
  resolve(wanted: Wanted): Promise<ResolvedModel>
  /** Could the model be used now? Asks nobody. */
  state(wanted: Wanted): Promise<"ready" | "missing_key" | "demo">
  /** 400 for a model that nobody knows. */
  check(userId: string, wanted: string | null): Promise<void>
  list(userId: string): Promise<Model[]>
  /** One smallest real call. */
  test(userId: string, model: string, signal: AbortSignal): Promise<{ ok: boolean; error?: string; latency_ms: number }>
}

export interface ModelsOptions {
  clock: Clock
  log: Logger
  /** `AUTONOMIS_DEFAULT_MODEL`. */
  defaultModel: string | null
  demo: boolean
  /** The platform's own provider keys and base URLs, by the variables' names. */
  platform: Readonly<Record<string, string>>
  /** The provider whose key the platform was first seen with; null: it never had one. */
  firstProvider: string | null
  userValues(userId: string): Awaitable<(agentId?: string) => Values>
  runtime: Pick<Runtime, "catalogue">
  /** Within the budgets and counted like any other call. */
  testCall(call: TestCall, signal: AbortSignal): Promise<ModelTest>
}

export function createModels(options: ModelsOptions): Models {
  const { clock, log, demo, userValues, runtime } = options
  const platform: Values = new Map(Object.entries(options.platform))
  let catalogue: Promise<ReadonlyMap<string, CatalogueModel>> | null = null

  function models(): Promise<ReadonlyMap<string, CatalogueModel>> {
    if (catalogue !== null) return catalogue
    const asked = runtime.catalogue().then((all) => new Map(all.map((model) => [model.id, model])))
    asked.catch((error) => {
      log.error("the catalogue of models could not be read", { error })
      catalogue = null
    })
    catalogue = asked
    return asked
  }

  const has = (provider: Provider, user: Values) => credentialsOf(provider, user, platform).credentials !== null
  /** Most users have set nothing of their own: then it is the same provider for all of them. */
  const platformsFirst = PROVIDERS.find((provider) => has(provider, new Map()))
  const firstUsable = (user: Values) =>
    user.size === 0 ? platformsFirst : PROVIDERS.find((provider) => has(provider, user))
  const orDefault = (wanted: string | null, user: Values): string => {
    const model = wanted ?? options.defaultModel
    if (model !== null) return model
    const usable = firstUsable(user)
    if (usable !== undefined) return `${usable.id}/${usable.defaultModel}`
    if (demo && options.firstProvider === null) return DEMO_MODEL
    // A platform that had a key and lost it must not answer from a script: the missing key is named instead.
    const first = findProvider(options.firstProvider ?? "") ?? PROVIDERS[0]
    return first === undefined ? DEMO_MODEL : `${first.id}/${first.defaultModel}`
  }

  /** Throws 400 for a model that nobody knows; with a base URL set, any name of the provider may be one. */
  async function known(model: string, user: Values): Promise<CredentialsOrProblem> {
    if (model === DEMO_MODEL && demo) return { credentials: NO_CREDENTIALS, problem: null }
    const parts = splitModel(model)
    const provider = parts === null ? undefined : findProvider(parts.provider)
    if (provider === undefined) throw unknownModel(model)
    const found = credentialsOf(provider, user, platform)
    if (!found.hasBaseUrl && !(await models()).has(model)) throw unknownModel(model)
    return found
  }

  async function resolve({ userId, agentId, wanted }: Wanted): Promise<ResolvedModel> {
    const user = (await userValues(userId))(agentId)
    const model = orDefault(wanted, user)
    const { credentials, problem } = await known(model, user)
    if (credentials === null) throw new AppError("failed_dependency", problem)
    return { model, credentials }
  }

  function problemWith(wanted: string | null, user: Values): string | null {
    const model = orDefault(wanted, user)
    if (model === DEMO_MODEL) return demo ? null : "the demo model is switched off, and no provider has a key"
    const provider = findProvider(splitModel(model)?.provider ?? "")
    return provider === undefined ? unknownModel(model).message : credentialsOf(provider, user, platform).problem
  }

  return {
    resolve,
    of: (userId) =>
      whenThere(userValues(userId), (valuesOf) => ({
        effective: ({ agentId, wanted }) => orDefault(wanted, valuesOf(agentId)),
        problem: ({ agentId, wanted }) => problemWith(wanted, valuesOf(agentId)),
      })),
    async state({ userId, agentId, wanted }) {
      const user = (await userValues(userId))(agentId)
      if (problemWith(wanted, user) !== null) return "missing_key"
      return orDefault(wanted, user) === DEMO_MODEL ? "demo" : "ready"
    },
    async check(userId, wanted) {
      if (wanted !== null) await known(wanted, (await userValues(userId))())
    },
    async list(userId) {
      const user = (await userValues(userId))()
      const usable = new Map(PROVIDERS.map((provider) => [provider.id, has(provider, user)]))
      const rows = [...(await models()).values()].map((model) => ({
        id: model.id,
        provider: model.provider,
        context_window: model.contextWindow,
        price: { input: model.price.input, output: model.price.output },
        available: usable.get(model.provider) ?? false,
      }))
      return demo ? [DEMO_ROW, ...rows.filter((row) => row.id !== DEMO_MODEL)] : rows
    },
    async test(userId, model, signal) {
      const startedAt = clock.now()
      const took = () => Math.max(0, clock.now() - startedAt)
      const { credentials, problem } = await known(model, (await userValues(userId))())
      if (credentials === null) return { ok: false, error: problem, latency_ms: took() }
      if (model === DEMO_MODEL) return { ok: true, latency_ms: took() }
      const price = (await models()).get(model)?.price
      const { ok, error } = await options.testCall({ userId, model, credentials, price }, signal)
      return { ok, ...(error === undefined ? {} : { error }), latency_ms: took() }
    },
  }
}

const NO_CREDENTIALS: Credentials = { owner: "platform", apiKey: null, baseUrl: null, headers: {} }

const DEMO_ROW: Model = {
  id: DEMO_MODEL,
  provider: "demo",
  context_window: 128_000,
  price: { input: 0, output: 0 },
  available: true,
}

const unknownModel = (model: string) =>
  new AppError("invalid_request", `unknown model ${JSON.stringify(model.slice(0, 100))}`)
