import assert from "node:assert/strict"
import { after, describe, test } from "node:test"
import type { DatabaseName } from "../test/databases.ts"
import { startAnthropicDouble } from "../test/doubles/anthropic.ts"
import { startOpenAiDouble } from "../test/doubles/openai.ts"
import { stopOwnPostgres } from "../test/postgres.ts"
import { startServer, type TestServer } from "../test/server.ts"
import { readSse, type SeenEvent } from "../test/sse.ts"
import { until } from "../test/until.ts"

const PLATFORM_KEY = "sk-platform-0123456789abcdef"

const PROVIDERS = {
  openai: {
    start: startOpenAiDouble,
    model: "openai/my-model",
    env: (url: string) => ({ OPENAI_API_KEY: PLATFORM_KEY, OPENAI_BASE_URL: `${url}/v1` }),
  },
  anthropic: {
    start: startAnthropicDouble,
    model: "anthropic/my-model",
    env: (url: string) => ({ ANTHROPIC_API_KEY: PLATFORM_KEY, ANTHROPIC_BASE_URL: url }),
  },
}

after(stopOwnPostgres)

async function account(server: TestServer): Promise<string> {
  const user = await server.call("POST", "/users", { user: "ada" })
  assert.equal(user.status, 201, JSON.stringify(user.body))
  const agent = await server.call("POST", "/users/ada/agents", { name: "manager" }, user.body.api_key)
  assert.equal(agent.status, 201, JSON.stringify(agent.body))
  // Its steps try the model too, and must not take what the double answers to the conversation.
  const ready = async () => (await server.call("GET", "/users/ada/deploy/status")).body.status === "ready"
  await until(ready, "the agent is set up")
  return user.body.api_key
}

const openStream = (server: TestServer, key: string, body: unknown) =>
  fetch(`${server.url}/api/v1/users/ada/agents/manager/chat/stream`, {
    method: "POST",
    headers: { "X-API-Key": key, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  })

const say = (content: string, more: Record<string, unknown> = {}) => ({
  messages: [{ role: "user", content }],
  ...more,
})

for (const database of ["sqlite", "postgres"] satisfies DatabaseName[]) {
  for (const [provider, { start, env, model }] of Object.entries(PROVIDERS)) {
    test(`on ${database}, through ${provider}'s wire form: the agent writes a file in its sandbox, runs it, and answers`, async () => {
      await using double = await start()
      await using server = await startServer({
        database,
        env: { ...env(double.url), AUTONOMIS_DEFAULT_MODEL: model },
      })
      const key = await account(server)
      double.script([
        {
          toolCalls: [{ name: "write", arguments: { path: "sum.sh", content: "echo $((6 * 7)) from $PWD" } }],
        },
        {
          toolCalls: [
            { name: "bash", arguments: { command: "sh sum.sh; echo key=$OPENAI_API_KEY$ANTHROPIC_API_KEY" } },
          ],
        },
        { text: "The answer is forty-two.", usage: { input: 100, output: 7 } },
      ])
      const events: SeenEvent[] = []
      for await (const event of readSse(await openStream(server, key, say("six times seven?", { session: "sums" })))) {
        events.push(event)
      }
      const done = events.at(-1)
      assert.equal(done?.event, "done", JSON.stringify(events))
      assert.equal(done?.data.message, "The answer is forty-two.")
      assert.deepEqual(
        done?.data.tool_calls.map((call: { name: string; is_error: boolean }) => [call.name, call.is_error]),
        [
          ["write", false],
          ["bash", false],
        ],
        JSON.stringify(done?.data.tool_calls),
      )
      assert.match(done?.data.tool_calls[1].result, /^42 from \/work\nkey=\n?$/)
      const deltas = events.filter((event) => event.event === "message.delta").map((event) => event.data.delta)
      assert.equal(deltas.join(""), "The answer is forty-two.")
      const ids = events.map((event) => Number(event.id))
      assert.deepEqual(
        ids,
        ids.toSorted((a, b) => a - b),
      )
      const file = await server.call("GET", "/users/ada/agents/manager/files/sum.sh", undefined, key)
      assert.equal(file.body, "echo $((6 * 7)) from $PWD")

      // What the model is given next is the whole conversation; then a restart changes nothing of it.
      double.script([{ text: "As I said." }])
      await server.call("POST", "/users/ada/agents/manager/chat", say("again?", { session: "sums" }), key)
      const before = await server.call("GET", "/users/ada/agents/manager/sessions/sums", undefined, key)
      assert.equal(before.status, 200)
      assert.deepEqual(
        before.body.messages.map((message: { role: string }) => message.role).filter((role: string) => role === "user"),
        ["user", "user"],
      )
      const usage = await server.call("GET", "/users/ada/usage", undefined, key)
      assert.equal(usage.body.runs, 2)
      assert.equal(await server.stop(), 0)
      await using again = await startServer({
        env: { ...env(double.url), AUTONOMIS_DEFAULT_MODEL: model },
        dataDir: server.dataDir,
        ...(server.databaseUrl === null ? {} : { databaseUrl: server.databaseUrl }),
      })
      const restored = await again.call("GET", "/users/ada/agents/manager/sessions/sums", undefined, key)
      assert.deepEqual(restored.body, before.body)
      // The provider's key went to the provider and nowhere else.
      assert.doesNotMatch(server.output().stdout + server.output().stderr, /sk-platform/)
    })
  }
}

describe("when the server stops while an answer is under way", () => {
  const slow = { text: "one two three four five six seven eight nine ten", wordDelayMs: 150 }

  test("the answer ends whole, new work is refused, and npm start exits with 0", async () => {
    await using double = await startOpenAiDouble()
    const env = { ...PROVIDERS.openai.env(double.url), AUTONOMIS_DEFAULT_MODEL: "openai/my-model" }
    await using server = await startServer({ npm: true, env })
    const key = await account(server)
    double.script([slow])
    const events: SeenEvent[] = []
    let refused: number[] = []
    for await (const event of readSse(await openStream(server, key, say("count")))) {
      events.push(event)
      if (events.filter((e) => e.event === "message.delta").length !== 1) continue
      process.kill(-server.pid, "SIGTERM")
      await until(async () => (await server.call("GET", "//ready")).status === 503, "not ready any more")
      const chat = await server.call("POST", "/users/ada/agents/manager/chat", say("more"), key)
      refused = [chat.status, (await server.call("GET", "//health")).status]
      // Once more is no kill.
      process.kill(-server.pid, "SIGTERM")
    }
    assert.deepEqual(refused, [503, 200])
    assert.equal(events.at(-1)?.event, "done", JSON.stringify(events.at(-1)))
    assert.equal(events.at(-1)?.data.message, slow.text)
    assert.equal(await server.ended, 0)
  })

  test("a second SIGINT ends it at once", async () => {
    await using double = await startOpenAiDouble()
    const env = { ...PROVIDERS.openai.env(double.url), AUTONOMIS_DEFAULT_MODEL: "openai/my-model" }
    await using server = await startServer({ env })
    const key = await account(server)
    double.script([{ text: "never to end", hang: "body" }])
    const stream = await openStream(server, key, say("count"))
    const events = readSse(stream)
    assert.equal((await events.next()).value?.event, "run.started")
    server.signal("SIGINT")
    await until(async () => (await server.call("GET", "//ready")).status === 503, "it stops in order first")
    const began = performance.now()
    // One Ctrl-C may arrive twice; what comes later is a second one.
    let how: unknown = null
    void server.ended.then((exit) => {
      how = exit
    })
    await until(() => {
      if (how === null) server.signal("SIGINT")
      return how
    }, "the second SIGINT kills")
    assert.notEqual(how, 0)
    assert.ok(performance.now() - began < 15_000)
    await events.return(undefined).catch(() => {})
  })
})

test("a run that was under way when the server was killed has failed, and its events end with error", async () => {
  await using double = await startOpenAiDouble()
  const env = { ...PROVIDERS.openai.env(double.url), AUTONOMIS_DEFAULT_MODEL: "openai/my-model" }
  await using server = await startServer({ env })
  const key = await account(server)
  double.script([{ text: "half of it", hang: "body" }])
  const events = readSse(await openStream(server, key, say("go on", { session: "cut" })))
  const first = (await events.next()).value as SeenEvent
  assert.equal(first.event, "run.started")
  await server.kill9()
  await events.return(undefined).catch(() => {})
  await using again = await startServer({ env, dataDir: server.dataDir })
  const path = `/users/ada/agents/manager/runs/${first.data.run_id}`
  const run = await again.call("GET", path, undefined, key)
  assert.equal(run.body.state, "failed")
  assert.match(JSON.stringify(run.body.error), /restarted/)
  const replay = await fetch(`${again.url}/api/v1${path}/stream`, { headers: { "X-API-Key": key } })
  const replayed: string[] = []
  for await (const event of readSse(replay)) replayed.push(event.event)
  assert.equal(replayed[0], "run.started")
  assert.equal(replayed.at(-1), "error")
})
