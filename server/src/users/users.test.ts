import assert from "node:assert/strict"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { startApp, type TestApp } from "../../../test/app.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import { BUILT_IN_PLANS } from "../plans/plans.ts"

async function addUser(app: TestApp, user: string, more: object = {}): Promise<string> {
  const { status, text, body } = await app.call("POST", "/users", { body: { user, ...more } })
  assert.equal(status, 201, text)
  return body.api_key
}
async function addAgents(app: TestApp, user: string, ...names: string[]): Promise<void> {
  const agents = names.map((name) => ({ name }))
  const { status, text } = await app.call("POST", `/users/${user}/agents`, { body: { agents } })
  assert.equal(status, 201, text)
}

forEachDatabase((name, open) => {
  test("users are made, read, listed and refused as the contract says", async () => {
    const db = await open()
    await using app = await startApp(db)
    const made = await app.call("POST", "/users", {
      body: { user: "ada", email: "ada@example.com", display_name: "Ada Лавлейс" },
    })
    assert.equal(made.status, 201)
    const { api_key, ...shown } = made.body
    assert.match(api_key, /^atn_user_/)
    assert.deepEqual(
      { ...shown, limits: undefined, created_at: undefined },
      {
        ...{ user: "ada", email: "ada@example.com", display_name: "Ada Лавлейс", tier: "free", state: "active" },
        ...{ agents: [], limits: undefined, created_at: undefined },
      },
    )
    assert.match(shown.created_at, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    assert.deepEqual(shown.limits, BUILT_IN_PLANS.plans[0]?.limits)
    assert.deepEqual((await app.call("GET", "/users/ada", { key: api_key })).body, shown)

    const table: [body: unknown, status: number, says: RegExp][] = [
      [{ user: "ada" }, 409, /ada.{1,3} exists already/],
      [{ user: "bob", tier: "gold" }, 400, /no tier \\"gold\\"/],
      [{ user: "Bob" }, 400, /user: 1 to 40 of a-z/],
      [{ user: "-bob" }, 400, /"path":"user"/],
      [{ user: "b".repeat(41) }, 400, /"path":"user"/],
      [{ user: "bob", email: "nonsense" }, 400, /"path":"email"/],
      [{ user: "bob", display_name: "a\0b" }, 400, /"path":"display_name"/],
      [{ user: "bob", admin: true }, 400, /"path":"admin","message":"unknown field"/],
      [{}, 400, /"path":"user"/],
      ["[]", 400, /the body is not valid/],
    ]
    for (const [body, status, says] of table) {
      const answer = await app.call("POST", "/users", { body, headers: { "Content-Type": "application/json" } })
      assert.equal(answer.status, status, answer.text)
      assert.match(answer.text, says)
      assert.ok(!answer.text.includes("api_key"))
    }
    assert.equal((await app.call("POST", "/users", { body: { user: "eve" }, key: api_key })).status, 403)
    assert.equal((await app.call("GET", "/users", { key: api_key })).status, 403)
    assert.deepEqual(
      (await app.call("GET", "/users")).body.users.map((user: { user: string }) => user.user),
      ["ada"],
    )
    const audit = (await app.call("GET", "/users/ada/audit")).body.entries
    assert.deepEqual([audit[0].actor, audit[0].action, audit[0].target], ["admin", "users.create", "user:ada"])
  })

  test("two who want the same name at once: one gets it", async () => {
    const db = await open()
    await using app = await startApp(db)
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => app.call("POST", "/users", { body: { user: "ada" } })),
    )
    assert.deepEqual(answers.map((answer) => answer.status).sort(), [201, ...Array(7).fill(409)])
  })

  test("pages of users stay right while users come and go", async () => {
    const db = await open()
    await using app = await startApp(db)
    for (const user of ["b1", "b3", "b5", "b7", "b9"]) await addUser(app, user)
    const names = (body: { users: { user: string }[] }) => body.users.map((user) => user.user)
    const first = (await app.call("GET", "/users?limit=2")).body
    assert.deepEqual(names(first), ["b1", "b3"])
    await app.call("DELETE", "/users/b3")
    await addUser(app, "b0")
    await addUser(app, "b4")
    await app.call("DELETE", "/users/b5")
    const second = (await app.call("GET", `/users?limit=2&cursor=${first.next_cursor}`)).body
    assert.deepEqual(names(second), ["b4", "b7"])
    const third = (await app.call("GET", `/users?limit=2&cursor=${second.next_cursor}`)).body
    assert.deepEqual([names(third), third.next_cursor], [["b9"], null])
    for (const bad of ["limit=0", "limit=201", "limit=x", "cursor=%21", "cursor=WzFd", "q=", "nonsense=1"])
      assert.equal((await app.call("GET", `/users?${bad}`)).status, 400, bad)
  })

  test("a search finds parts of names, addresses and display names, and nothing by wildcards", async () => {
    const db = await open()
    await using app = await startApp(db)
    await addUser(app, "ada", { email: "Countess@example.com" })
    await addUser(app, "bob", { display_name: "100% Robert_" })
    await addAgents(app, "ada", "manager")
    const find = async (q: string) => (await app.call("GET", `/users?q=${encodeURIComponent(q)}`)).body.users
    assert.equal((await find("countess"))[0].user, "ada")
    assert.equal((await find("AD"))[0].agent_count, 1)
    assert.equal((await find("100%"))[0].user, "bob")
    assert.deepEqual(await find("_b"), [])
    assert.deepEqual(await find("%a"), [])
    assert.deepEqual(await find("' or 1=1 --"), [])
  })

  test("a tier is changed by the administrator alone, and not below what is there", async () => {
    const db = await open()
    await using app = await startApp(db)
    const key = await addUser(app, "ada", { tier: "pro" })
    await addAgents(app, "ada", "a1", "a2", "a3", "a4")
    const put = (tier: unknown, as?: string) =>
      app.call("PUT", "/users/ada/tier", { body: { tier }, ...(as ? { key: as } : {}) })
    const refused = await put("free")
    assert.equal(refused.status, 409)
    assert.match(refused.text, /more than the 3 agents/)
    assert.equal((await put("gold")).status, 400)
    assert.equal((await put("enterprise", key)).status, 403)
    assert.equal((await put("enterprise")).body.limits.agents, null)
    await app.call("DELETE", "/users/ada/agents/a4")
    const { status, body } = await put("free")
    assert.deepEqual([status, body.tier, body.limits.agents, body.agents.length], [200, "free", 3, 3])
  })

  test("overrides replace all that stood: what is left out falls back, null is unlimited", async () => {
    const db = await open()
    await using app = await startApp(db)
    const key = await addUser(app, "ada")
    const put = (body: object) => app.call("PUT", "/users/ada/limits", { body })
    const first = (await put({ tokens_per_month: 5, usd_per_day: 0.5 })).body.limits
    assert.deepEqual([first.tokens_per_month, first.usd_per_month, first.usd_per_day], [5, null, 0.5])
    const second = (await put({ tokens_per_month: null })).body.limits
    assert.deepEqual([second.tokens_per_month, second.usd_per_day], [null, null])
    assert.equal((await put({})).body.limits.tokens_per_month, 1_000_000)
    await put({ usd_per_day: 2 })
    const bare = await app.call("PUT", "/users/ada/limits")
    assert.deepEqual([bare.status, bare.body.limits.usd_per_day], [200, null], "without a body all falls back")
    for (const bad of [{ agents: 5 }, { tokens_per_month: -1 }, { tokens_per_month: 0.5 }, { usd_per_day: "1" }])
      assert.equal((await put(bad)).status, 400, JSON.stringify(bad))
    assert.equal((await app.call("PUT", "/users/ada/limits", { body: {}, key })).status, 403)
  })

  test("a suspended user's keys read the account and nothing else, until the suspension ends", async () => {
    const db = await open()
    await using app = await startApp(db)
    const key = await addUser(app, "ada")
    await addAgents(app, "ada", "manager")
    const state = (value: string) => app.call("PUT", "/users/ada/state", { body: { state: value, reason: "unpaid" } })
    assert.equal((await state("suspended")).body.state, "suspended")
    assert.equal((await app.call("GET", "/users/ada", { key })).body.state, "suspended")
    const refused = await app.call("GET", "/users/ada/agents", { key })
    assert.deepEqual([refused.status, refused.body.code], [403, "suspended"])
    assert.equal((await app.call("GET", "/users/ada/agents/manager/ping")).body.online, false)
    assert.equal((await app.call("PUT", "/users/ada/state", { body: { state: "active" }, key })).status, 403)
    assert.equal((await state("active")).body.state, "active")
    assert.equal((await app.call("GET", "/users/ada/agents", { key })).status, 200)
    assert.equal((await state("deleting")).status, 400)
  })

  test("a rotated key stops at once, or after the grace", async () => {
    const db = await open()
    const clock = { ms: Date.now(), now: () => clock.ms }
    await using app = await startApp(db, { clock })
    const first = await addUser(app, "ada")
    const rotate = async (key: string, body?: object) => {
      const answer = await app.call("POST", "/users/ada/rotate-key", { key, body })
      assert.equal(answer.status, 200, answer.text)
      return answer.body.api_key
    }
    const works = async (key: string) => (await app.call("GET", "/users/ada", { key })).status
    const second = await rotate(first)
    assert.deepEqual([await works(first), await works(second)], [401, 200])
    const third = await rotate(second, { grace_seconds: 60 })
    assert.deepEqual([await works(second), await works(third)], [200, 200])
    clock.ms += 60_000
    assert.deepEqual([await works(second), await works(third)], [401, 200])
    for (const grace_seconds of [-1, 86_401, 1.5, "1"])
      assert.equal((await app.call("POST", "/users/ada/rotate-key", { body: { grace_seconds } })).status, 400)
  })

  test("another tenant's account answers with the same bytes as one that is not there", async () => {
    const db = await open()
    await using app = await startApp(db)
    const key = await addUser(app, "ada")
    await addUser(app, "bob")
    await addAgents(app, "bob", "manager")
    for (const [method, path] of [
      ["GET", ""],
      ["DELETE", ""],
      ["PUT", "/tier"],
      ["POST", "/rotate-key"],
      ["GET", "/agents/manager"],
      ["GET", "/secrets"],
    ] as const) {
      const [there, absent] = await Promise.all([
        app.call(method, `/users/bob${path}`, { key, ...(method === "PUT" ? { body: { tier: "pro" } } : {}) }),
        app.call(method, `/users/nobody${path}`, { key, ...(method === "PUT" ? { body: { tier: "pro" } } : {}) }),
      ])
      assert.deepEqual([there.status, there.text], [404, '{"error":"user not found"}'], path)
      assert.deepEqual([absent.status, absent.text], [there.status, there.text], path)
    }
    assert.equal((await app.call("GET", "/users/bob")).status, 200)
  })

  if (name === "sqlite")
    test("plans come from a file, and one that lacks a tier in use stops the start", async () => {
      const db = await open()
      const folder = mkdtempSync(join(tmpdir(), "autonomis-plans-"))
      const file = join(folder, "plans.json")
      const free = BUILT_IN_PLANS.plans[0]
      writeFileSync(
        file,
        JSON.stringify({ plans: [{ tier: "tiny", limits: { ...free?.limits, agents: 1 } }, free], default: "tiny" }),
      )
      const env = { AUTONOMIS_PLANS_FILE: file }
      {
        await using app = await startApp(db, { env })
        assert.equal((await app.call("GET", "/plans")).body.default, "tiny")
        await addUser(app, "ada")
        assert.equal((await app.call("GET", "/users/ada")).body.limits.agents, 1)
      }
      await assert.rejects(startApp(db), /lacks "tiny"/)
      rmSync(folder, { recursive: true })
    })
})
