import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import OpenAI from "openai"
import { startApp, type TestApp } from "../../../../test/app.ts"
import { freshSqlite, type TestDatabase } from "../../../../test/databases.ts"
import { until } from "../../../../test/until.ts"

let db: TestDatabase
let app: TestApp
let agentKey: string
let token: string
let baseURL: string

before(async () => {
  db = await freshSqlite()
  app = await startApp(db)
  app.app.start()
  await app.call("POST", "/users", { body: { user: "ada", tier: "pro" } })
  const made = await app.call("POST", "/users/ada/agents", {
    body: { agents: [{ name: "manager" }, { name: "helper" }] },
  })
  agentKey = made.body.agents[0].api_key
  const connect = await app.call("GET", "/users/ada/agents/manager/connect")
  token = connect.body.token
  baseURL = `${app.url}/gateway/ada/manager/v1`
})
after(async () => {
  await app[Symbol.asyncDispose]()
  await db[Symbol.asyncDispose]()
})

const client = (apiKey = token) => new OpenAI({ baseURL, apiKey, maxRetries: 0 })
const ask = (content: string) => [{ role: "user" as const, content }]

test("the address and token of `connect` are all that OpenAI's own client needs", async () => {
  const connect = await app.call("GET", "/users/ada/agents/manager/connect")
  const { base_url, model } = connect.body
  assert.equal(base_url, baseURL)
  const answer = await client().chat.completions.create({ model, messages: ask("Who are you?") })
  assert.equal(answer.object, "chat.completion")
  assert.match(answer.id, /^chatcmpl-run_/)
  assert.equal(answer.model, "manager")
  assert.match(answer.choices[0]?.message.content ?? "", /manager/)
  assert.equal(answer.choices[0]?.finish_reason, "stop")
  const usage = answer.usage
  assert.ok(usage && usage.prompt_tokens > 0 && usage.completion_tokens > 0)
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
})

test("an agent's own key works too, and the models list names the agent", async () => {
  const { data } = await client(agentKey).models.list()
  assert.deepEqual(
    data.map(({ id, object, owned_by }) => [id, object, owned_by]),
    [["manager", "model", "ada"]],
  )
  assert.equal((await client(agentKey).models.retrieve("manager")).id, "manager")
  await assert.rejects(client().models.retrieve("gpt-5"), OpenAI.NotFoundError)
})

test("a stream brings the same text as an answer in one piece, and usage when it was asked for", async () => {
  const body = { model: "manager", messages: ask('/tool bash {"command":"echo from the sandbox"}') }
  const whole = await client().chat.completions.create(body)
  const stream = await client().chat.completions.create({
    ...body,
    stream: true,
    stream_options: { include_usage: true },
  })
  let text = ""
  let usage: OpenAI.CompletionUsage | null | undefined = null
  const reasons: (string | null)[] = []
  let first = true
  for await (const chunk of stream) {
    assert.equal(chunk.object, "chat.completion.chunk")
    if (first) assert.deepEqual(chunk.choices[0]?.delta, { role: "assistant", content: "" })
    first = false
    text += chunk.choices[0]?.delta.content ?? ""
    if (chunk.choices[0]) reasons.push(chunk.choices[0].finish_reason)
    usage = chunk.usage ?? usage
  }
  assert.equal(text, whole.choices[0]?.message.content)
  assert.match(text, /from the sandbox/)
  assert.deepEqual([...new Set(reasons)], [null, "stop"])
  assert.ok(usage && usage.total_tokens > 0)
  const plain = await client().chat.completions.create({ ...body, stream: true })
  for await (const chunk of plain) assert.equal("usage" in chunk, false)
})

test("a stream's bytes are OpenAI's: data lines alone, [DONE] last", async () => {
  const answer = await fetch(`${baseURL}/chat/completions`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ model: "manager", messages: ask("Hi"), stream: true }),
  })
  assert.match(answer.headers.get("content-type") ?? "", /^text\/event-stream/)
  const lines = (await answer.text()).split("\n\n").filter((line) => line !== "")
  assert.ok(lines.every((line) => line.startsWith("data: ")))
  assert.equal(lines.at(-1), "data: [DONE]")
})

test("a short max_tokens ends the answer with `length`; stop, system messages and unknown fields are taken", async () => {
  const short = await client().chat.completions.create({
    model: "manager",
    max_completion_tokens: 3,
    messages: [{ role: "developer", content: "Be brief." }, ...ask("Tell me who you are, at length.")],
    stop: ["\n\n\n"],
    temperature: 0.2,
    tools: [{ type: "function", function: { name: "f", parameters: {} } }],
    user: "someone",
  })
  assert.equal(short.choices[0]?.finish_reason, "length")
})

test("an image part reaches the model's message; a false one and an address are refused by name", async () => {
  const png =
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
  const withImage = (url: string) => ({
    model: "manager",
    messages: [
      {
        role: "user" as const,
        content: [
          { type: "text" as const, text: "What is this?" },
          { type: "image_url" as const, image_url: { url } },
        ],
      },
    ],
  })
  const answer = await client().chat.completions.create(withImage(png))
  assert.equal(answer.choices[0]?.finish_reason, "stop")
  for (const url of ["data:image/png;base64,AAAA", "https://example.org/a.png", "data:text/html;base64,AAAA"]) {
    await assert.rejects(client().chat.completions.create(withImage(url)), (error: unknown) => {
      assert.ok(error instanceof OpenAI.BadRequestError)
      assert.match(String(error.param), /^messages\[0\]\.content/)
      return true
    })
  }
})

test("errors arise as OpenAI's typed errors", async () => {
  const create = (key: string, model = "manager", messages: OpenAI.ChatCompletionMessageParam[] = ask("x")) =>
    client(key).chat.completions.create({ model, messages })
  await assert.rejects(create("atn_agent_wrong"), OpenAI.AuthenticationError)
  await assert.rejects(create(app.adminKey), OpenAI.AuthenticationError)
  await assert.rejects(create(token, "gpt-5"), OpenAI.NotFoundError)
  await assert.rejects(create(token, "nobody/knows"), OpenAI.BadRequestError)
  await assert.rejects(create(token, "manager", []), OpenAI.BadRequestError)
  await assert.rejects(create(token, "manager", [{ role: "assistant", content: "x" }]), OpenAI.BadRequestError)
  const other = new OpenAI({ baseURL: `${app.url}/gateway/ada/helper/v1`, apiKey: token, maxRetries: 0 })
  await assert.rejects(other.chat.completions.create({ model: "helper", messages: ask("x") }), OpenAI.NotFoundError)
  const nobody = new OpenAI({ baseURL: `${app.url}/gateway/bob/manager/v1`, apiKey: token, maxRetries: 0 })
  await assert.rejects(nobody.chat.completions.create({ model: "x", messages: ask("x") }), OpenAI.NotFoundError)
  const missing = await app.call("POST", "//gateway/ada/manager/v1/chat/completions", {
    key: agentKey,
    body: { model: "openai/gpt-5.4", messages: ask("x") },
  })
  assert.equal(missing.status, 424)
  assert.match(missing.body.error.message, /OPENAI_API_KEY is not set/)
})

test("what the gateway does not serve is 405 with Allow, or 404, for who may use it, in OpenAI's form", async () => {
  const at = (path: string, method = "GET", key: string | null = token) =>
    app.call(method, `//gateway/ada/manager/v1${path}`, { key })
  for (const key of [token, agentKey]) {
    const wrong = await at("/chat/completions", "GET", key)
    assert.equal(wrong.status, 405, wrong.text)
    assert.equal(wrong.headers.get("allow"), "OPTIONS, POST")
    assert.equal(wrong.body.error.code, "method_not_allowed")
    assert.equal((await at("/models", "DELETE", key)).headers.get("allow"), "GET, HEAD, OPTIONS")
    assert.equal((await at("/embeddings", "POST", key)).status, 404)
  }
  for (const path of ["/chat/completions", "/embeddings"])
    for (const key of [null, "atn_agent_wrong", app.adminKey]) assert.equal((await at(path, "GET", key)).status, 401)
  const theirs = await app.call("GET", "//gateway/ada/helper/v1/chat/completions", { key: token })
  assert.deepEqual([theirs.status, theirs.body.error.message], [404, "agent not found"])
  const nobodys = await app.call("GET", "//gateway/bob/manager/v1/chat/completions", { key: token })
  assert.deepEqual([nobodys.status, nobodys.body.error.message], [404, "user not found"])
})

test("a used-up budget is a RateLimitError that a client does not repeat", async () => {
  await app.call("POST", "/users", { body: { user: "poor" } })
  const made = await app.call("POST", "/users/poor/agents", { body: { name: "manager" } })
  await app.call("PUT", "/users/poor/limits", { body: { tokens_per_month: 10 } })
  const patient = new OpenAI({
    baseURL: `${app.url}/gateway/poor/manager/v1`,
    apiKey: made.body.agents[0].api_key,
    maxRetries: 5,
  })
  const before = (await app.call("GET", "/users/poor/usage")).body.runs
  for (const stream of [false, true]) {
    await assert.rejects(
      patient.chat.completions.create({ model: "manager", messages: ask("x"), stream }),
      (error: unknown) => error instanceof OpenAI.RateLimitError && error.code === "budget_exhausted",
    )
  }
  assert.equal((await app.call("GET", "/users/poor/usage")).body.runs, before + 2)
  const key = made.body.agents[0].api_key
  const body = { messages: ask("x") }
  for (const path of ["/users/poor/agents/manager/chat", "//gateway/poor/manager/v1/chat/completions"]) {
    const refused = await app.call("POST", path, { key, body })
    assert.equal(refused.status, 429)
    const untilNextMonth = Number(refused.headers.get("retry-after"))
    assert.ok(untilNextMonth > 0 && untilNextMonth <= 31 * 24 * 3600, String(untilNextMonth))
  }
  const streamed = await app.call("POST", "/users/poor/agents/manager/chat/stream", { key, body })
  assert.match(streamed.text, /event: error\ndata: .*"resets_at":".*","retry_after_seconds":\d+/)
})

test("a client that goes away cancels the run at once, streaming or not", async () => {
  const { runs } = (await app.call("GET", "/status")).body
  assert.equal(runs, 0)
  for (const stream of [false, true]) {
    const gone = new AbortController()
    const asked = client().chat.completions.create(
      { model: "manager", messages: ask('/tool bash {"command":"sleep 100"}'), stream },
      { signal: gone.signal },
    )
    const over = asked.then(
      () => {},
      () => {},
    )
    await until(async () => (await app.call("GET", "/status")).body.runs === 1, "the run is under way")
    gone.abort()
    await over
    await until(async () => (await app.call("GET", "/status")).body.runs === 0, "the run has ended")
    const row = await db.kysely.selectFrom("runs").selectAll().orderBy("created_at", "desc").executeTakeFirst()
    assert.equal(row?.state, "cancelled")
  }
})
