import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { startApp } from "../app.ts"
import { freshPostgres } from "../databases.ts"
import { startOpenAiDouble } from "../doubles/openai.ts"
import { stopOwnPostgres } from "../postgres.ts"
import { until } from "../until.ts"
import { newCast } from "./cast.ts"

after(stopOwnPostgres)

/** Two servers on one PostgreSQL and one data folder, as replicas are. */
async function replicas(env: Record<string, string> = {}) {
  const db = await freshPostgres()
  const dataDir = mkdtempSync(join(tmpdir(), "autonomis-two-"))
  const shared = { masterKey: randomBytes(32), adminKey: "the-administrator-of-both", dataDir, env }
  const a = await startApp(db, shared)
  const b = await startApp(await db.another(), shared)
  return {
    ...{ a, b },
    async [Symbol.asyncDispose]() {
      await a[Symbol.asyncDispose]()
      await b[Symbol.asyncDispose]()
      await db[Symbol.asyncDispose]()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

test("a key that was rotated on one server stops on the other, and what was opened with it ends there", async () => {
  await using both = await replicas()
  const { a, b } = both
  const { path, user } = await newCast(a)
  assert.equal((await b.call("GET", path, { key: user.key })).status, 200)
  const stream = await fetch(`${b.url}/api/v1${path}/logs?follow=true`, { headers: { "X-API-Key": user.key } })
  assert.equal(stream.status, 200)
  const { body } = await a.call("POST", `${path}/rotate-key`, { key: user.key })
  await until(async () => (await b.call("GET", path, { key: user.key })).status === 401, "the old key to stop", 3000)
  await stream.text()
  assert.equal((await b.call("GET", path, { key: body.api_key })).status, 200)
})

test("an answer that one server gave is replayed by the other", async () => {
  await using both = await replicas()
  const { a, b } = both
  const call = { body: { user: "ada" }, headers: { "Idempotency-Key": "one" } }
  const [first, second] = [await a.call("POST", "/users", call), await b.call("POST", "/users", call)]
  assert.deepEqual([second.status, second.text], [first.status, first.text])
  assert.equal(second.headers.get("idempotent-replayed"), "true")
  const many = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      (i % 2 ? a : b).call("POST", "/users", { body: { user: "bob" }, headers: { "Idempotency-Key": "two" } }),
    ),
  )
  assert.ok(many.every(({ status }) => status === 201 || status === 409))
  assert.ok(new Set(many.filter((m) => m.status === 201).map((m) => m.text)).size === 1)
})

test("no limit is passed by a hundred requests at once, half of them at each server", async () => {
  await using provider = await startOpenAiDouble()
  provider.script(() => ({ text: "word ".repeat(30), delayMs: 5 }))
  const platform = { OPENAI_API_KEY: "key-12345678", OPENAI_BASE_URL: `${provider.url}/v1` }
  await using both = await replicas(platform)
  const { a, b } = both
  const { path, user } = await newCast(a)
  const half = (i: number) => (i % 2 ? a : b)
  const M = `${path}/agents/manager`
  await a.call("PATCH", `${M}/config`, { body: { model: "openai/gpt-5.4" } })
  const most = 30_000
  await a.call("PUT", `${path}/limits`, { body: { tokens_per_month: most } })
  const body = { messages: [{ role: "user", content: "hi" }] }
  const chats = await Promise.all(
    Array.from({ length: 100 }, (_, i) => half(i).call("POST", `${M}/chat`, { key: user.key, body })),
  )
  const taken = chats.filter(({ status }) => status === 200)
  assert.ok(taken.length > 3)
  for (const { status, body } of chats)
    if (status !== 200) assert.deepEqual([status, body.code], [429, "budget_exhausted"])
  const spent = taken.reduce((sum, { body }) => sum + body.usage.total_tokens, 0)
  const usage = (await b.call("GET", `${path}/usage`)).body
  assert.equal(usage.tokens.total, spent)
  assert.ok(spent <= most, `${spent} of ${most}`)
  const nano = taken.reduce((sum, { body }) => sum + Math.round(body.usage.cost_usd * 1e9), 0)
  assert.equal(usage.cost_usd, nano / 1e9)

  await a.call("POST", "/users", { body: { user: "free" } })
  const made = await Promise.all(
    Array.from({ length: 100 }, (_, i) => half(i).call("POST", "/users/free/agents", { body: { name: `agent-${i}` } })),
  )
  assert.equal(made.filter(({ status }) => status === 201).length, 3)
  assert.ok(made.every(({ status, body }) => status === 201 || body.code === "plan_limit"))
})

test("a user who is deleted at one server ends at the other: keys, streams and runs", async () => {
  await using both = await replicas()
  const { a, b } = both
  const { path, user, agents } = await newCast(a)
  const messages = [{ role: "user", content: '/tool bash {"command":"sleep 100"}' }]
  const stream = await fetch(`${b.url}/api/v1${path}/agents/manager/chat/stream`, {
    method: "POST",
    headers: { "X-API-Key": agents.manager, "Content-Type": "application/json" },
    body: JSON.stringify({ messages, resume_seconds: 300 }),
  })
  assert.equal(stream.status, 200)
  assert.equal((await a.call("DELETE", path)).status, 204)
  for (const key of [user.key, agents.manager])
    await until(async () => (await b.call("GET", path, { key })).status === 401, "the key to stop", 3000)
  await stream.text().catch(() => "")
  await until(async () => (await b.call("GET", "/status")).body.runs === 0, "the run to end")
  const again = await a.call("POST", "/users", { body: { user: user.name } })
  assert.equal(again.status, 201)
  assert.deepEqual((await b.call("GET", `${path}/agents`, { key: again.body.api_key })).body.agents, [])
})

test("one server's pause holds on the other, and each reads the other's audit and logs", async () => {
  await using both = await replicas()
  const { a, b } = both
  const { path, user } = await newCast(a)
  await a.call("PUT", "/pause", { body: { paused: true } })
  await until(async () => (await b.call("GET", "/status")).body.paused, "the pause to reach the other server")
  const message = { messages: [{ role: "user", content: "hi" }] }
  assert.ok((await b.call("POST", `${path}/agents/manager/chat`, { key: user.key, body: message })).status >= 400)
  await a.call("PUT", "/pause", { body: { paused: false } })
  await until(async () => !(await b.call("GET", "/status")).body.paused, "the end of the pause")
  assert.equal((await b.call("POST", `${path}/agents/manager/chat`, { key: user.key, body: message })).status, 200)
  const linesOn = async (server: typeof a) => (await server.call("GET", `${path}/logs`, { key: user.key })).body.logs
  await until(async () => (await linesOn(a)).length > 0, "the other server's lines to be stored")
  const { entries } = (await b.call("GET", "/audit")).body
  assert.ok(entries.some((e: { action: string }) => e.action === "platform.pause"))
})
