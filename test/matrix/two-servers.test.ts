import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { startApp } from "../app.ts"
import { freshPostgres } from "../databases.ts"
import { stopOwnPostgres } from "../postgres.ts"
import { until } from "../until.ts"
import { newCast } from "./cast.ts"

after(stopOwnPostgres)

/** Two servers on one PostgreSQL and one data folder, as replicas are. */
async function replicas() {
  const db = await freshPostgres()
  const dataDir = mkdtempSync(join(tmpdir(), "autonomis-two-"))
  const shared = { masterKey: randomBytes(32), adminKey: "the-administrator-of-both", dataDir }
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
