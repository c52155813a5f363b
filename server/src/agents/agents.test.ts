import assert from "node:assert/strict"
import { existsSync, globSync } from "node:fs"
import { test } from "node:test"
import { DEFAULT_CONFIG } from "@autonomis/contract/agents.ts"
import { startApp, type TestApp } from "../../../test/app.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import { until } from "../../../test/until.ts"

async function user(app: TestApp, name: string, tier = "free"): Promise<string> {
  const { status, text, body } = await app.call("POST", "/users", { body: { user: name, tier } })
  assert.equal(status, 201, text)
  return body.api_key
}
const create = (app: TestApp, body: unknown, key?: string) =>
  app.call("POST", "/users/ada/agents", { body, ...(key ? { key } : {}) })
async function names(app: TestApp): Promise<string[]> {
  const { body } = await app.call("GET", "/users/ada/agents")
  return body.agents.map((agent: { name: string; default: boolean }) => (agent.default ? `*${agent.name}` : agent.name))
}

forEachDatabase((name, open) => {
  test("agents are made one or many, all or none, with every default filled in", async () => {
    const db = await open()
    await using app = await startApp(db)
    const key = await user(app, "ada")
    const one = await create(app, { name: "manager", description: "Looks after the others." }, key)
    assert.equal(one.status, 201, one.text)
    const { api_key, created_at, ...shown } = one.body.agents[0]
    assert.match(api_key, /^atn_agent_/)
    assert.match(created_at, /Z$/)
    assert.deepEqual(shown, {
      ...{ name: "manager", description: "Looks after the others.", default: true, model: "demo/demo" },
      ...{ state: shown.state, config: DEFAULT_CONFIG, last_active_at: null },
    })
    const table: [body: unknown, status: number, says: RegExp][] = [
      [{ agents: [{ name: "a" }, { name: "manager" }] }, 409, /manager.{1,3} exists already/],
      [{ agents: [{ name: "a" }, { name: "a" }] }, 400, /named twice/],
      [{ agents: [{ name: "a" }, { name: "b", default: true }, { name: "c", default: true }] }, 400, /only one/],
      [{ agents: [{ name: "a" }, { name: "b" }, { name: "c" }] }, 403, /"plan_limit","limit":"agents","max":3/],
      [{ agents: [{ name: "a" }, { name: "b", model: "openai/nonsense" }] }, 400, /unknown model/],
      [{ agents: [{ name: "a", model: "demo/demo", config: { model: "openai/gpt-5.4" } }] }, 400, /two models/],
      [{ agents: [{ name: "a", config: { network: "all" } }] }, 400, /config\.network"/],
      [{ agents: [{ name: "a", config: { network_allow: [] } }] }, 400, /network_allow.*or null for all/],
      [{ agents: [{ name: "a", config: { network_allow: ["*.a.test"] } }] }, 400, /network_allow\[0\].*no wildcard/],
      [{ agents: [{ name: "a", config: { tools: { web_fetch: true } } }] }, 400, /web_fetch/],
      [{ agents: [{ name: "a", templates: { "OTHER.md": "x" } }] }, 400, /OTHER.md/],
      [{ agents: [] }, 400, /agents/],
      [{ name: "a", secrets: { PATH: "x" } }, 400, /PATH is reserved/],
      [{ name: "a", secrets: [{ key: "X", value: "y", agents: ["nobody"] }] }, 400, /no agent/],
      [{ name: "A" }, 400, /name/],
      [{}, 400, /agents/],
    ]
    for (const [body, status, says] of table) {
      const answer = await create(app, body, key)
      assert.equal(answer.status, status, answer.text)
      assert.match(answer.text, says)
      assert.ok(!answer.text.includes("atn_"))
    }
    assert.deepEqual(await names(app), ["*manager"])
    assert.deepEqual((await app.call("GET", "/users/ada/secrets")).body.secrets, [])

    const body = {
      agents: [
        { name: "a", templates: { "SOUL.md": "I am a." } },
        { name: "b", default: true, config: { max_turns: 7 } },
      ],
      secrets: [{ key: "for_b", value: "0123456789", agents: ["b"] }],
    }
    assert.equal((await create(app, body, key)).status, 201)
    assert.deepEqual(await names(app), ["a", "*b", "manager"])
    assert.equal((await app.call("GET", "/users/ada/agents/b")).body.config.max_turns, 7)
    assert.equal((await app.call("GET", "/users/ada/agents/a/templates")).body.effective["SOUL.md"], "I am a.")
    assert.deepEqual((await app.call("GET", "/users/ada/secrets")).body.secrets[0].agents, ["b"])
  })

  test("a hundred creations at once never pass the plan's limit, nor make two defaults", async () => {
    const db = await open()
    await using app = await startApp(db, { env: {} })
    await app.call("POST", "/users", { body: { user: "ada", tier: "pro" } })
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => create(app, { name: `a${i}` })))
    const statuses = Map.groupBy(answers, (answer) => answer.status)
    assert.deepEqual([statuses.get(201)?.length, statuses.get(403)?.length], [20, 80])
    const all = await names(app)
    assert.equal(all.length, 20)
    assert.equal(all.filter((one) => one.startsWith("*")).length, 1)
    const uids = await db.read.selectFrom("agents").select("host_uid").execute()
    assert.equal(new Set(uids.map((row) => row.host_uid)).size, 20)
  })

  test("host uids are never given twice, also when their agents are gone", async () => {
    const db = await open()
    await using app = await startApp(db)
    await user(app, "ada")
    const seen = new Set<number>()
    for (let i = 0; i < 3; i++) {
      await create(app, { agents: [{ name: "a" }, { name: "b" }] })
      for (const { host_uid } of await db.read.selectFrom("agents").select("host_uid").execute()) seen.add(host_uid)
      for (const agent of ["a", "b"]) await app.call("DELETE", `/users/ada/agents/${agent}`)
    }
    assert.equal(seen.size, 6)
  })

  test("the default passes to who is made it, and to the oldest left when it is deleted", async () => {
    const db = await open()
    const clock = { ms: Date.now(), now: () => clock.ms }
    await using app = await startApp(db, { clock })
    await user(app, "ada")
    for (const agent of ["c", "b", "a"]) {
      clock.ms += 1000
      await create(app, { name: agent })
    }
    assert.deepEqual(await names(app), ["a", "b", "*c"])
    const patched = await app.call("PATCH", "/users/ada/agents/a", { body: { default: true, description: "first" } })
    assert.deepEqual([patched.body.default, patched.body.description], [true, "first"])
    assert.deepEqual(await names(app), ["*a", "b", "c"])
    await app.call("DELETE", "/users/ada/agents/a")
    assert.deepEqual(await names(app), ["b", "*c"])
    for (const body of [{ default: false }, { name: "x" }, { description: 5 }])
      assert.equal((await app.call("PATCH", "/users/ada/agents/b", { body })).status, 400)
  })

  test("patches of the settings that come at once are all in force", async () => {
    const db = await open()
    await using app = await startApp(db)
    await user(app, "ada")
    await create(app, { name: "manager" })
    const patches = [
      { max_turns: 7 },
      { thinking: "low" },
      { tools: { bash: false } },
      { tools: { read: false } },
      { model: "demo/demo" },
    ]
    const answers = await Promise.all(
      patches.map((body) => app.call("PATCH", "/users/ada/agents/manager/config", { body })),
    )
    assert.deepEqual(
      answers.map((answer) => answer.status),
      Array(5).fill(200),
    )
    const { config } = (await app.call("GET", "/users/ada/agents/manager")).body
    assert.deepEqual(config, {
      ...{ ...DEFAULT_CONFIG, max_turns: 7, thinking: "low", model: "demo/demo" },
      tools: { ...DEFAULT_CONFIG.tools, bash: false, read: false },
    })
    for (const body of [
      { nonsense: 1 },
      { max_turns: 0 },
      { model: "openai/nonsense" },
      { model: "demo" },
      { tools: 1 },
    ]) {
      const answer = await app.call("PATCH", "/users/ada/agents/manager/config", { body })
      assert.equal(answer.status, 400, answer.text)
    }
    assert.deepEqual((await app.call("GET", "/users/ada/agents/manager")).body.config, config)
    const none = await app.call("PATCH", "/users/ada/agents/manager/config", { body: { tools: null, max_turns: null } })
    assert.deepEqual([none.body.config.tools, none.body.config.max_turns], [DEFAULT_CONFIG.tools, 50])
  })

  test("a deleted agent takes its workspace, sessions and keys along, and a new one of its name has none of them", async () => {
    const db = await open()
    await using app = await startApp(db)
    const key = await user(app, "ada")
    const agentKey = (await create(app, { name: "manager" }, key)).body.agents[0].api_key
    await create(app, { name: "other" }, key)
    const at = "/users/ada/agents/manager"
    await app.call("PUT", `${at}/files/notes.txt`, { key, body: "x" })
    const chat = { messages: [{ role: "user", content: "hello" }], session: "s" }
    assert.equal((await app.call("POST", `${at}/chat`, { key, body: chat })).status, 200)
    const token = (await app.call("GET", `${at}/connect`, { key: agentKey })).body.token
    const folder = globSync(`${app.dataDir}/users/*/agents/*`).find((path) => existsSync(`${path}/workspace/notes.txt`))
    assert.ok(folder)

    assert.equal((await app.call("DELETE", at, { key })).status, 204)
    assert.ok(!existsSync(folder))
    assert.equal((await app.call("GET", at, { key: agentKey })).status, 401)
    const gateway = await app.call("GET", "//gateway/ada/manager/v1/models", {
      key: null,
      headers: { Authorization: `Bearer ${token}` },
    })
    assert.equal(gateway.status, 401)
    assert.deepEqual((await app.call("GET", at, { key })).text, '{"error":"agent not found"}')
    assert.equal((await app.call("DELETE", at, { key })).status, 404)
    await create(app, { name: "manager" }, key)
    assert.deepEqual((await app.call("GET", `${at}/sessions`, { key })).body.sessions, [])
    assert.equal((await app.call("GET", `${at}/files/notes.txt`, { key })).status, 404)
    const left = async () => [
      ...(await db.read.selectFrom("messages").select("id").execute()),
      ...(await db.read.selectFrom("meta").select("name").where("name", "like", "removed_agent:%").execute()),
    ]
    await until(async () => (await left()).length === 0, "its rows to be removed")
  })

  test("an agent's key may do what the reference lists and nothing else", async () => {
    const db = await open()
    await using app = await startApp(db)
    await user(app, "ada")
    const [own, other] = (await create(app, { agents: [{ name: "own" }, { name: "other" }] })).body.agents
    const get = async (path: string, key: string) => (await app.call("GET", `/users/ada${path}`, { key })).status
    assert.deepEqual(
      await Promise.all(
        ["/agents/own", "/agents/own/ping", "/agents/own/connect"].map((path) => get(path, own.api_key)),
      ),
      [200, 200, 200],
    )
    assert.deepEqual(
      await Promise.all(
        ["/agents/other", "", "/agents", "/secrets", "/deploy/status"].map((path) => get(path, own.api_key)),
      ),
      [404, 403, 403, 403, 403],
    )
    const rotated = await app.call("POST", "/users/ada/agents/other/rotate-key", { body: {} })
    assert.equal(await get("/agents/other", other.api_key), 401)
    assert.equal(await get("/agents/other", rotated.body.api_key), 200)
    assert.equal(await get("/agents/own", own.api_key), 200)
  })

  test("connect gives a token for the gateway alone, for an hour, and no longer than the key that asked", async () => {
    const db = await open()
    const clock = { ms: Date.now(), now: () => clock.ms }
    await using app = await startApp(db, { clock, env: { AUTONOMIS_PUBLIC_URL: "https://agents.example.com" } })
    const key = await user(app, "ada")
    await create(app, { name: "manager" })
    const connect = async () => {
      const answer = await app.call("GET", "/users/ada/agents/manager/connect", { key })
      assert.equal(answer.headers.get("cache-control"), "no-store")
      return answer.body
    }
    const shown = await connect()
    assert.deepEqual(
      { ...shown, token: "", expires_at: "" },
      {
        ...{ protocol: "openai", base_url: "https://agents.example.com/gateway/ada/manager/v1", model: "manager" },
        ...{ token: "", expires_at: "" },
      },
    )
    assert.equal(Date.parse(shown.expires_at), clock.ms + 3600_000)
    const models = async (token: string) =>
      (
        await app.call("GET", "//gateway/ada/manager/v1/models", {
          key: null,
          headers: { Authorization: `Bearer ${token}` },
        })
      ).status
    assert.equal(await models(shown.token), 200)
    assert.equal((await app.call("GET", "/users/ada/agents/manager", { key: shown.token })).status, 401)
    const second = await connect()
    clock.ms += 3600_000
    assert.equal(await models(second.token), 401)
    const third = await connect()
    await app.call("POST", "/users/ada/rotate-key", { key, body: {} })
    assert.equal(await models(third.token), 401)
  })

  test("ping tells truly whether a chat would be taken", async () => {
    const db = await open()
    await using app = await startApp(db)
    await user(app, "ada")
    await create(app, { agents: [{ name: "demo" }, { name: "real", model: "openai/gpt-5.4" }] })
    const ping = async (agent: string) => {
      const { body } = await app.call("GET", `/users/ada/agents/${agent}/ping`)
      return [body.online, body.model, body.sandbox]
    }
    assert.deepEqual(await ping("demo"), [true, "demo", "idle"])
    assert.deepEqual(await ping("real"), [false, "missing_key", "idle"])
    await app.call("PUT", "/users/ada/secrets", { body: { secrets: { OPENAI_API_KEY: "sk-0123456789" } } })
    assert.deepEqual(await ping("real"), [true, "ready", "idle"])
    await app.call("PUT", "/users/ada/limits", { body: { tokens_per_month: 100 } })
    assert.deepEqual(await ping("real"), [false, "ready", "idle"], "its budget does not pay for the least answer")
    await app.call("PUT", "/users/ada/limits", { body: {} })
    await app.call("PUT", "/pause", { body: { paused: true } })
    assert.deepEqual(await ping("demo"), [false, "ready", "idle"])
    await app.call("PUT", "/pause", { body: { paused: false } })
    assert.deepEqual(await ping("demo"), [true, "ready", "idle"])
    const chat = (session: string) => {
      const messages = [{ role: "user", content: '/tool bash {"command":"sleep 100"}' }]
      const body = { messages, session, background: true, model: "demo/demo" }
      return app.call("POST", "/users/ada/agents/demo/chat", { body })
    }
    // The free plan has two places; messages that wait in a session need none.
    for (let i = 0; i < 3; i++) assert.equal((await chat("one")).status, 202)
    assert.equal((await ping("demo"))[0], true)
    assert.equal((await chat("two")).status, 202)
    assert.equal((await ping("demo"))[0], false, "every place is taken")
    assert.equal((await chat("three")).status, 429)
    await app.call("PUT", "/users/ada/state", { body: { state: "suspended" } })
    assert.equal((await ping("demo"))[0], false, "the account is suspended")
    await app.call("PUT", "/users/ada/state", { body: { state: "active" } })
    assert.equal((await ping("demo"))[0], true)
  })

  test("the deployment says what each step came to, with cause and cure, and streams its changes to the end", async () => {
    const db = await open()
    await using app = await startApp(db)
    await user(app, "ada")
    const nobody = (await app.call("GET", "/users/ada/deploy/status")).body
    assert.deepEqual(nobody, { status: "ready", progress: 100, steps: [], agents: [] })
    await create(app, { agents: [{ name: "demo" }, { name: "real", model: "openai/gpt-5.4" }] })
    const stream = await app.call("GET", "/users/ada/deploy/status", { headers: { Accept: "text/event-stream" } })
    assert.match(stream.headers.get("content-type") ?? "", /^text\/event-stream/)
    const events = stream.text.split("\n\n").filter((part) => part.includes("data: "))
    const last = JSON.parse(events.at(-1)?.split("data: ")[1] ?? "null")
    assert.equal(last.status, "failed")
    const now = (await app.call("GET", "/users/ada/deploy/status")).body
    assert.deepEqual(now, last)
    assert.deepEqual(
      now.agents.map((agent: { name: string; state: string }) => `${agent.name} ${agent.state}`),
      ["demo ready", "real failed"],
    )
    const failed = now.steps.filter((step: { status: string }) => step.status !== "done")
    assert.deepEqual(
      failed.map((step: { agent: string; name: string; error: { cause: string } }) => [
        step.agent,
        step.name,
        step.error.cause,
      ]),
      [["real", "model", "secret OPENAI_API_KEY is not set"]],
    )
    assert.ok(failed[0].error.cure.length > 10)
    assert.deepEqual(new Set(now.steps.map((step: { name: string }) => step.name)).size, 6)

    await app.call("PUT", "/users/ada/secrets", { body: { secrets: { OPENAI_API_KEY: "sk-0123456789" } } })
    const mended = (await app.call("GET", "/users/ada/deploy/status")).body
    assert.deepEqual([mended.status, mended.progress], ["ready", 100])
    assert.equal((await app.call("GET", "/users/ada/agents/real")).body.state, "ready")
  })

  if (name === "sqlite")
    test("pages of agents stay right while agents come and go", async () => {
      const db = await open()
      await using app = await startApp(db)
      await user(app, "ada", "pro")
      await create(app, { agents: ["a1", "a3", "a5", "a7"].map((agent) => ({ name: agent })) })
      const first = (await app.call("GET", "/users/ada/agents?limit=2")).body
      await app.call("DELETE", "/users/ada/agents/a3")
      await create(app, { agents: [{ name: "a0" }, { name: "a4" }] })
      const next = (await app.call("GET", `/users/ada/agents?limit=10&cursor=${first.next_cursor}`)).body
      assert.deepEqual(
        next.agents.map((agent: { name: string }) => agent.name),
        ["a4", "a5", "a7"],
      )
      assert.equal(next.next_cursor, null)
    })
})
