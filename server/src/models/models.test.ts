import assert from "node:assert/strict"
import { test } from "node:test"
import { freshSqlite } from "../../../test/databases.ts"
import { silentLogger } from "../lib/log.ts"
import type { CatalogueModel } from "../runtime/protocol.ts"
import { PROVIDERS } from "../runtime/providers.ts"
import { firstProvider } from "./first-provider.ts"
import { createModels, type Models, type ModelsOptions } from "./models.ts"

const KNOWN: CatalogueModel[] = PROVIDERS.map((provider) => ({
  ...{ id: `${provider.id}/${provider.defaultModel}`, provider: provider.id, contextWindow: 1000 },
  ...{ maxOutputTokens: 100, images: false, reasoning: false },
  price: { input: 1, output: 2, cacheRead: 0, cacheWrite: 0 },
}))

function modelsWith(options: Partial<ModelsOptions> & { user?: Record<string, string | null> } = {}) {
  const { user = {}, ...rest } = options
  return createModels({
    ...{
      clock: { now: () => 0 },
      log: silentLogger,
      defaultModel: null,
      demo: true,
      platform: {},
      firstProvider: null,
    },
    userValues: async () => () => new Map(Object.entries(user)),
    runtime: { catalogue: async () => KNOWN },
    testCall: async () => ({ ok: true, usage: null }),
    ...rest,
  })
}
const never = new AbortController().signal
const ask = (wanted: string | null = null) => ({ userId: "usr_1", wanted })

test("with only a base URL of their own a user never reaches a platform's key, at any provider", async () => {
  for (const provider of PROVIDERS) {
    if (provider.baseUrlVariable === null) continue
    const platform = Object.fromEntries(provider.keyVariables.map((name) => [name, "platform-key"]))
    const user = { [provider.baseUrlVariable]: "https://mine.example.com/v1" }
    const models = modelsWith({ platform: { ...platform, [provider.baseUrlVariable]: "https://theirs.example" }, user })
    const model = `${provider.id}/${provider.defaultModel}`
    await assert.rejects(models.resolve(ask(model)), {
      code: "failed_dependency",
      message: `secret ${provider.keyVariables[0]} is not set`,
    })
    assert.equal(await models.state(ask(model)), "missing_key")
  }
})

test("with only a key of their own a user never uses the platform's address, at any provider", async () => {
  for (const provider of PROVIDERS) {
    if (provider.baseUrlVariable === null) continue
    const [keyName = ""] = provider.keyVariables
    const platform = { [keyName]: "platform-key", [provider.baseUrlVariable]: "https://theirs.example" }
    const models = modelsWith({ platform, user: { [keyName]: "user-key" } })
    const resolving = models.resolve(ask(`${provider.id}/${provider.defaultModel}`))
    if (provider.baseUrlRequired) await assert.rejects(resolving, /BASE_URL is not set/)
    else
      assert.deepEqual((await resolving).credentials, {
        ...{ owner: "user", apiKey: "user-key", baseUrl: null, headers: {} },
      })
  }
})

test("the platform's key and address serve who has set neither", async () => {
  const platform = { OPENAI_API_KEY: "platform-key", OPENAI_BASE_URL: "http://127.0.0.1:1/v1" }
  const { credentials } = await modelsWith({ platform }).resolve(ask("openai/my-own-model"))
  assert.deepEqual(credentials, {
    ...{ owner: "platform", apiKey: "platform-key", baseUrl: "http://127.0.0.1:1/v1", headers: {} },
  })
})

test("a key that is given to other agents only is set, but not to be used", async () => {
  const models = modelsWith({ platform: { OPENAI_API_KEY: "platform-key" }, user: { OPENAI_API_KEY: null } })
  await assert.rejects(models.resolve(ask("openai/gpt-5.4")), /secret OPENAI_API_KEY is not set/)
})

test("a user's own address must be https, and one that a provider's client cannot take is refused", async () => {
  for (const url of ["http://mine.example.com", "ftp://x", "nonsense", "//mine.example.com"]) {
    const models = modelsWith({ user: { OPENAI_API_KEY: "k", OPENAI_BASE_URL: url } })
    await assert.rejects(models.resolve(ask("openai/gpt-5.4")), { code: "failed_dependency", message: /https/ })
  }
})

test("an unknown model is a 400; with a base URL set any name of the provider may be one", async () => {
  const models = modelsWith({ platform: { OPENAI_API_KEY: "k" } })
  for (const model of ["openai/nonsense", "nobody/gpt", "demo/other", "openai"])
    await assert.rejects(models.resolve(ask(model)), { code: "invalid_request", message: /unknown model/ })
  await assert.rejects(models.check("usr_1", "openai/nonsense"), { code: "invalid_request" })
  await models.check("usr_1", "openai/gpt-5.4")
  const own = modelsWith({ user: { OPENAI_API_KEY: "k", OPENAI_BASE_URL: "https://mine.example.com/v1" } })
  assert.equal((await own.resolve(ask("openai/my/model"))).model, "openai/my/model")
})

test("the default: what is configured, else the first provider with a key, else the demo model", async () => {
  const effective = async (models: Models, wanted: string | null = null) =>
    (await models.of("usr_1")).effective({ wanted })
  assert.equal(await effective(modelsWith()), "demo/demo")
  assert.equal(await effective(modelsWith({ defaultModel: "openai/gpt-5.4" })), "openai/gpt-5.4")
  const platform = { OPENAI_API_KEY: "k", MISTRAL_API_KEY: "k" }
  assert.equal(await effective(modelsWith({ platform })), "openai/gpt-5.4")
  const own = modelsWith({ platform, user: { ANTHROPIC_API_KEY: "k" } })
  assert.equal(await effective(own), "anthropic/claude-sonnet-5")
  assert.equal(await effective(own, "mistral/x"), "mistral/x")
})

test("a platform that once had a key and lost it says so instead of answering from the demo's script", async () => {
  const models = modelsWith({ firstProvider: "openai" })
  await assert.rejects(models.resolve(ask()), {
    code: "failed_dependency",
    message: "secret OPENAI_API_KEY is not set",
  })
  assert.equal((await models.resolve(ask("demo/demo"))).model, "demo/demo", "named, it still answers")
  const off = modelsWith({ demo: false })
  await assert.rejects(off.resolve(ask()), {
    code: "failed_dependency",
    message: "secret ANTHROPIC_API_KEY is not set",
  })
  await assert.rejects(off.resolve(ask("demo/demo")), { code: "invalid_request" })
  assert.ok((await off.list("usr_1")).every((model) => model.id !== "demo/demo"))
})

test("that it had one is kept over restarts", async () => {
  await using db = await freshSqlite()
  assert.equal(await firstProvider(db, {}), null)
  assert.equal(await firstProvider(db, { OPENAI_BASE_URL: "http://x" }), null)
  assert.equal(await firstProvider(db, { MISTRAL_API_KEY: "k", OPENAI_API_KEY: "k" }), "openai")
  assert.equal(await firstProvider(db, {}), "openai")
})

test("the list says which models the user could use now, and a test of one says what is wrong", async () => {
  const models = modelsWith({ user: { OPENAI_API_KEY: "k" } })
  const list = await models.list("usr_1")
  const available = list.filter((model) => model.available).map((model) => model.provider)
  assert.deepEqual(available, ["demo", "openai"])
  assert.deepEqual(list.find((model) => model.id === "openai/gpt-5.4")?.price, { input: 1, output: 2 })
  assert.deepEqual(await models.test("usr_1", "openai/gpt-5.4", never), { ok: true, latency_ms: 0 })
  assert.deepEqual(await models.test("usr_1", "mistral/mistral-large-latest", never), {
    ...{ ok: false, error: "secret MISTRAL_API_KEY is not set", latency_ms: 0 },
  })
  await assert.rejects(models.test("usr_1", "mistral/nonsense", never), { code: "invalid_request" })
})
