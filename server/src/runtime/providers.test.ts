import assert from "node:assert/strict"
import { createServer, type IncomingHttpHeaders } from "node:http"
import { after, before, test } from "node:test"
import { modelsOf } from "./catalogue.ts"
import { RunFailure } from "./failure.ts"
import { installGuard } from "./guard.ts"
import { resolveModel } from "./models.ts"
import { loadPi } from "./pi/load.ts"
import { callProvider } from "./provider-call.ts"
import { ENVIRONMENT_TO_DELETE, PROVIDERS } from "./providers.ts"
import { DEFAULT_SETTINGS } from "./settings.ts"

const pi = await loadPi()
const PLATFORM = "platform-key-0123456789"
const USER = "user-key-9876543210"

/** Takes any request of any provider, keeps it and refuses it. */
const seen: { url: string; headers: IncomingHttpHeaders; body: string }[] = []
const server = createServer((request, response) => {
  let body = ""
  request.on("data", (chunk) => {
    body += chunk
  })
  request.on("end", () => {
    seen.push({ url: request.url ?? "", headers: request.headers, body })
    response.writeHead(400, { "content-type": "application/json" }).end('{"error":{"message":"no","status":400}}')
  })
})
let url = ""
const kept = { ...process.env }
const fetchBefore = globalThis.fetch

before(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("no port")
  url = `http://127.0.0.1:${address.port}/v1`
  installGuard()
  // The worst case: the platform's keys are still where a client would look for them.
  for (const name of ENVIRONMENT_TO_DELETE) {
    if (!/URL|LOG|VERTEXAI|ENTERPRISE|FILE|CONFIG_DIR|HEADERS|SKIP_AUTH|PROFILE|RETENTION/.test(name)) {
      process.env[name] = PLATFORM
    }
  }
})
after(() => {
  for (const name of ENVIRONMENT_TO_DELETE) delete process.env[name]
  Object.assign(process.env, kept)
  globalThis.fetch = fetchBefore
  server.close()
})

/** Plays a public host on loopback. */
const resolve = async () => ({ address: "127.0.0.1", family: 4 as const })

async function ask(model: string, apiKey: string | null, baseUrl: string | null) {
  const resolved = await resolveModel(model, { owner: "user", apiKey, baseUrl, headers: {} })
  return callProvider(
    { pi, resolved, settings: DEFAULT_SETTINGS, resolve },
    {
      context: pi.normalizeContext({ systemPrompt: "s", messages: [{ role: "user", content: "hi", timestamp: 0 }] }),
      maxTokens: 100,
      thinking: "off",
      stop: [],
      cacheKey: "session",
      signal: AbortSignal.timeout(20_000),
      onText: () => {},
      onThinking: () => {},
    },
  )
}

for (const provider of PROVIDERS) {
  test(`${provider.id}: a user with only a base URL causes no request and never one with the platform's key`, async () => {
    const models = await modelsOf(provider.id)
    const forms = new Map([...models.values()].map((model) => [model.api, model.id]))
    const ids = [...forms.values(), "off-the-catalogue"]
    assert.ok(models.has(provider.defaultModel), `${provider.defaultModel} is not in the catalogue`)

    for (const id of ids) {
      seen.length = 0
      const model = `${provider.id}/${id}`
      await assert.rejects(
        ask(model, null, url),
        (error) => error instanceof RunFailure && /^secret [A-Z_]+ is not set$/.test(error.message),
      )
      await assert.rejects(ask(model, "  ", url), RunFailure)
      await assert.rejects(ask(model, "<authenticated>", url), RunFailure)
      await assert.rejects(ask(model, "gcp-vertex-credentials", url), RunFailure)
      assert.equal(seen.length, 0)
      if (!provider.userBaseUrl) {
        await assert.rejects(ask(model, USER, url), /cannot be used with a base URL of your own/)
        assert.equal(seen.length, 0)
        continue
      }
      const { message, wire } = await ask(model, USER, url)
      assert.equal(message.stopReason, "error")
      assert.equal(wire.status, 400, `${model}: ${message.errorMessage}`)
      assert.equal(seen.length, 1, `${model} was asked ${seen.length} times`)
      const whole = JSON.stringify(seen)
      assert.ok(whole.includes(USER), `${model} was asked without the user's key`)
      assert.ok(!whole.includes("platform"), `${model} was asked with the platform's key: ${whole}`)
    }
  })
}

test("a user's base URL must be https and public", async () => {
  for (const [baseUrl, reason] of [
    ["http://example.com/v1", /must start with https/],
    ["https://127.0.0.1/v1", /not a public address/],
    ["https://[::1]/v1", /not a public address/],
    ["https://169.254.169.254/v1", /not a public address/],
    ["https://2130706433/v1", /not a public address/],
    ["https://user:pass@127.0.0.1/v1", /user name/],
  ] as const) {
    const resolved = await resolveModel("openai/x", { owner: "user", apiKey: USER, baseUrl, headers: {} })
    assert.equal(resolved.reach, "public")
    const { wire } = await callProvider(
      { pi, resolved, settings: DEFAULT_SETTINGS },
      {
        context: pi.normalizeContext({ messages: [{ role: "user", content: "hi", timestamp: 0 }] }),
        maxTokens: 10,
        thinking: "off",
        stop: [],
        cacheKey: "s",
        signal: AbortSignal.timeout(20_000),
        onText: () => {},
        onThinking: () => {},
      },
    )
    assert.match(wire.failure?.message ?? "", reason)
  }
})

test("outside a model call there is no network", async () => {
  await assert.rejects(fetch(url), /no network outside a model call/)
})

test("each wire form can be loaded, as it is bundled", async () => {
  for (const [name, load] of Object.entries(pi.apis)) assert.equal(typeof (await load()).streamSimple, "function", name)
})
