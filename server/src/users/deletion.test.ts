import assert from "node:assert/strict"
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { sql } from "kysely"
import { startApp, type TestApp } from "../../../test/app.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import { until } from "../../../test/until.ts"
import type { Database } from "../db/database.ts"
import { forUser, type UserTable } from "../db/for-user.ts"
import type { Schema } from "../db/schema.ts"
import { createKeys } from "../keys/keys.ts"
import { silentLogger } from "../lib/log.ts"
import { createPlans } from "../plans/plans.ts"
import { createUsers, type Ender } from "./users.ts"

/** Every table that may hold a row of a user, but for the audit, which is the platform's record. */
const TABLES: Record<Exclude<UserTable, "audit"> | "idempotency", true> = {
  ...{ data_keys: true, api_keys: true, agents: true, templates: true, secrets: true, skills: true, sessions: true },
  ...{ messages: true, runs: true, run_events: true, usage_daily: true, reservations: true, attachments: true },
  ...{ logs: true, idempotency: true },
}

async function leftOf(db: Database, userId: string): Promise<string[]> {
  const left: string[] = []
  for (const table of Object.keys(TABLES)) {
    const query = sql<{ n: number }>`select count(*) as n from ${sql.table(table)} where user_id = ${userId}`
    const { rows } = await query.execute(db.kysely)
    if ((rows[0]?.n ?? 0) > 0) left.push(table)
  }
  const user = await db.kysely.selectFrom("users").select("id").where("id", "=", userId).execute()
  return user.length > 0 ? [...left, "users"] : left
}

/** A user who has something everywhere; gives the opaque id and the keys. */
async function richUser(app: TestApp, db: Database): Promise<{ id: string; key: string; agentKey: string }> {
  const key = (await app.call("POST", "/users", { body: { user: "ada" } })).body.api_key
  const call = async (method: string, path: string, body?: unknown) => {
    const answer = await app.call(method, `/users/ada${path}`, { key, ...(body === undefined ? {} : { body }) })
    assert.ok(answer.status < 300, `${method} ${path}: ${answer.text}`)
    return answer.body
  }
  const agentKey = (await call("POST", "/agents", { name: "manager" })).agents[0].api_key
  await call("PUT", "/secrets", { secrets: { GITHUB_TOKEN: "ghp_example_0123456789" } })
  await call("PUT", "/agent-templates", { templates: { "SOUL.md": "Be brief." } })
  await call("PUT", "/agents/manager/files/notes.txt", "Remember the milk.\n")
  await call("POST", "/agents/manager/chat", { messages: [{ role: "user", content: "hello" }], session: "s" })
  await call("GET", "/agents/manager/connect")
  const id = (await db.kysely.selectFrom("users").select("id").where("name", "=", "ada").executeTakeFirstOrThrow()).id
  assert.ok((await leftOf(db, id)).length >= 8)
  return { id, key, agentKey }
}

forEachDatabase((name, open) => {
  test("a deleted user is gone with everything, and the name is free for someone new", async () => {
    const db = await open()
    await using app = await startApp(db)
    const { id, key, agentKey } = await richUser(app, db)
    assert.ok(existsSync(join(app.dataDir, "users", id)))
    const deleted = await app.call("DELETE", "/users/ada", { key })
    assert.deepEqual([deleted.status, deleted.text], [204, ""])

    assert.ok(!existsSync(join(app.dataDir, "users", id)), "the files are out of reach before the answer")
    for (const dead of [key, agentKey]) assert.equal((await app.call("GET", "/users/ada", { key: dead })).status, 401)
    assert.deepEqual((await app.call("GET", "/users/ada")).text, '{"error":"user not found"}')
    const again = await app.call("POST", "/users", { body: { user: "ada" } })
    assert.equal(again.status, 201)
    await app.call("POST", "/users/ada/agents", { body: { name: "manager" } })

    await until(async () => (await leftOf(db, id)).length === 0, "all rows to be gone")
    assert.deepEqual(readdirSync(join(app.dataDir, "trash")), [])
    assert.deepEqual((await app.call("GET", "/users/ada/secrets")).body.secrets, [])
    assert.deepEqual((await app.call("GET", "/users/ada/agents/manager/sessions")).body.sessions, [])
    assert.equal((await app.call("GET", "/users/ada/agents/manager/files/notes.txt")).status, 404)
    assert.notEqual((await app.call("GET", "/users/ada/agent-templates")).body.templates["SOUL.md"], "Be brief.")
    const entries = (await app.call("GET", "/audit")).body.entries
    const deletion = entries.find((entry: { action: string }) => entry.action === "users.delete")
    assert.deepEqual([deletion.target, deletion.actor], ["user:ada", "user:ada"])
    assert.deepEqual(
      app.complaints.filter((line) => line.includes('"level":"error"')),
      [],
    )
  })

  test("nothing of a deleted user can write any more, and what ran has stopped before the answer", async () => {
    const db = await open()
    await using app = await startApp(db)
    const { id, key } = await richUser(app, db)
    const before = forUser(db, id)
    const content = `/tool bash {"command":"sleep 20; echo late > late.txt"}`
    const body = { messages: [{ role: "user", content }], background: true }
    const { run_id } = (await app.call("POST", "/users/ada/agents/manager/chat", { key, body })).body
    const run = () => app.call("GET", `/users/ada/agents/manager/runs/${run_id}`, { key })
    await until(async () => (await run()).body.state === "running", "the run to begin")
    const stream = app.call("GET", `/users/ada/agents/manager/runs/${run_id}/stream`, { key })

    assert.equal((await app.call("DELETE", "/users/ada", { key })).status, 204)
    await stream
    const insert = before.insert("attachments", { hash: "x", size_bytes: 1, created_at: 1 })
    await assert.rejects(before.batch([insert]), { code: "not_found" })
    await until(async () => (await leftOf(db, id)).length === 0, "all rows to be gone")
    assert.deepEqual(readdirSync(join(app.dataDir, "users")), [])
  })

  test("a deletion that a crash broke off is ended by the next start", async () => {
    const db = await open()
    const dataDir = mkdtempSync(join(tmpdir(), "autonomis-crash-"))
    const masterKey = Buffer.alloc(32, 7)
    let id = ""
    {
      await using app = await startApp(db, { dataDir, masterKey })
      id = (await richUser(app, db)).id
    }
    // The server that dies right after the transaction: nothing was stopped, moved or removed.
    const clock = { now: () => Date.now() }
    const plans = createPlans()
    await using keys = createKeys({ db, clock, plans, log: silentLogger })
    const crash = { stopUser: () => Promise.reject(new Error("crash")), kick() {} }
    const users = createUsers({ db, clock, plans, keys, purge: crash, enders: [] })
    const ada = await users.byName("ada")
    assert.ok(ada)
    await assert.rejects(users.delete(ada, { actor: "admin", ip: null, requestId: "req_1" }), /crash/)
    assert.ok((await leftOf(db, id)).includes("messages"))
    assert.equal(await users.byName("ada"), null)

    await using app = await startApp(db, { dataDir, masterKey })
    assert.equal((await app.call("POST", "/users", { body: { user: "ada" } })).status, 201)
    await until(async () => (await leftOf(db, id)).length === 0, "the next start to remove the rest")
    assert.ok(!existsSync(join(dataDir, "users", id)))
    assert.deepEqual(readdirSync(join(dataDir, "trash")), [])
    assert.equal((await app.call("GET", "/users/ada")).status, 200)
    rmSync(dataDir, { recursive: true })
  })

  test("what the platform's keys have paid for a deleted user stays as a sum without a name", async () => {
    const db = await open()
    await using app = await startApp(db)
    const { id } = await richUser(app, db)
    const day = (agent: string, nano: number): Schema["usage_daily"] => ({
      ...{
        user_id: id,
        agent_id: agent,
        agent_name: agent,
        model: "m",
        day: "2026-01-01",
        runs: 1,
        estimated_calls: 0,
      },
      ...{ input_tokens: 1, output_tokens: 1, cache_read_tokens: 0, cache_write_tokens: 0 },
      ...{ cost_nano: nano, platform_cost_nano: nano },
    })
    await db.batch([
      { query: db.kysely.insertInto("usage_daily").values([day("a", 5), day("b", 7)]) },
      { query: db.kysely.insertInto("usage_daily").values([{ ...day("c", 1), user_id: "", agent_id: "", model: "" }]) },
    ])
    await app.call("DELETE", "/users/ada")
    await until(async () => (await leftOf(db, id)).length === 0, "all rows to be gone")
    const rows = await db.read
      .selectFrom("usage_daily")
      .select(["user_id", "platform_cost_nano"])
      .where("day", "=", "2026-01-01")
      .execute()
    assert.deepEqual(
      rows.map((row) => ({ ...row })),
      [{ user_id: "", platform_cost_nano: 13 }],
    )
  })

  if (name === "postgres")
    test("a deletion on one server stops what the user runs on the others that share the database", async () => {
      const db = await open()
      const other = await db.another()
      const clock = { now: () => Date.now() }
      const plans = createPlans()
      const purge = { stopUser: async () => {}, kick() {} }
      const ended: string[] = []
      const ender: Ender = {
        endUser: async (userId) => void ended.push(`end ${userId}`),
        suspendUser: async (userId) => void ended.push(`suspend ${userId}`),
      }
      const log = silentLogger
      await using keysHere = createKeys({ db, clock, plans, log })
      const here = createUsers({ db, clock, plans, keys: keysHere, purge, enders: [] })
      await using keysThere = createKeys({ db: other, clock, plans, log, heard: (id) => void there.followUp(id) })
      const there = createUsers({ db: other, clock, plans, keys: keysThere, purge, enders: [ender] })
      const origin = { actor: "admin", ip: null, requestId: "req_1" }
      await here.create({ user: "ada" }, origin)
      const ada = (await here.byName("ada")) ?? assert.fail()
      // Notices are lost until the other server's ear is up.
      await until(async () => {
        await here.setState(ada, "suspended", undefined, origin)
        return ended.includes(`suspend ${ada.id}`)
      }, "the other server to hear of the suspension")
      await here.delete(ada, origin)
      await until(() => ended.includes(`end ${ada.id}`), "the other server to hear of the deletion")
    })
})
