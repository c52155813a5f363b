import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import { contract } from "@autonomis/contract/endpoints.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import { until } from "../../../test/until.ts"
import type { Database } from "../db/database.ts"
import { AppError } from "../lib/errors.ts"
import { silentLogger } from "../lib/log.ts"
import { Answer, endpoint, type Route, SENT } from "./endpoint.ts"
import { createIdempotency } from "./idempotency.ts"
import { openSse } from "./sse.ts"
import { startTestServer, type TestServer } from "./test-server.ts"

const sealKey = randomBytes(32)
const START = Date.parse("2026-03-01T00:00:00Z")
const path = "/api/v1/users/ada/rotate-key"
const streamPath = "/api/v1/users/ada/agents/manager/chat/stream"
const chat = { messages: [{ role: "user", content: "hi" }] }

interface Setup extends AsyncDisposable {
  server: TestServer
  /** How often the handlers really ran. */
  runs: number
  clock: { now(): number; at: number }
  /** Held answers go on. */
  go: PromiseWithResolvers<void>
  next: () => Promise<Answer<{ api_key: string }>>
  store: ReturnType<typeof createIdempotency>
}

async function setUp(db: Database, bootId = "boot_1"): Promise<Setup> {
  const clock = {
    at: START,
    now() {
      return this.at
    },
  }
  const store = createIdempotency({ db, clock, log: silentLogger, sealKey, bootId })
  const routes: Route[] = [
    endpoint(contract.users.rotateKey, async () => {
      setup.runs++
      return await setup.next()
    }),
    endpoint(contract.chat.stream, async (context) => {
      const { idempotency } = context
      if (!idempotency) throw new Error("no key")
      const runId = idempotency.runId ?? `run_${++setup.runs}`
      if (idempotency.runId === null) await db.batch([idempotency.bindRun(runId)])
      const stream = openSse(context)
      stream.send(1, "run.started", { run_id: runId })
      stream.close()
      return SENT
    }),
  ]
  const server = await startTestServer(routes, { idempotency: store })
  const setup: Setup = {
    server,
    store,
    runs: 0,
    clock,
    go: Promise.withResolvers(),
    next: async () => new Answer(200, { api_key: `key-${setup.runs}` }, { "X-Extra": "1" }),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    },
  }
  return setup
}

const post = (setup: Setup, key: string, more: { body?: unknown; as?: string; path?: string } = {}) =>
  setup.server.call("POST", more.path ?? path, {
    key: more.as ?? "ada",
    headers: { "Idempotency-Key": key },
    ...(more.body === undefined ? {} : { body: more.body }),
  })

forEachDatabase((_name, open) => {
  test("the same key and body gets the first answer again, byte for byte, and nothing is done twice", async () => {
    await using db = await open()
    await using setup = await setUp(db)
    const [first, second] = [await post(setup, "a"), await post(setup, "a")]
    assert.deepEqual([first.status, first.body], [200, { api_key: "key-1" }])
    assert.deepEqual([second.status, second.text, second.headers.get("x-extra")], [200, first.text, "1"])
    assert.deepEqual(
      [first, second].map((a) => a.headers.get("idempotent-replayed")),
      [null, "true"],
    )
    assert.equal(setup.runs, 1)
  })

  test("another body is 409; another caller, path or key is another request", async () => {
    await using db = await open()
    await using setup = await setUp(db)
    await post(setup, "a", { body: { grace_seconds: 1 } })
    const other = await post(setup, "a", { body: { grace_seconds: 2 } })
    assert.deepEqual([other.status, other.body.code], [409, "conflict"])
    await post(setup, "b", { body: { grace_seconds: 2 } })
    await post(setup, "a", { body: { grace_seconds: 1 }, as: "admin" })
    await post(setup, "a", { body: { grace_seconds: 1 }, as: "bob", path: "/api/v1/users/bob/rotate-key" })
    assert.equal(setup.runs, 4)
  })

  test("a second while the first is under way is 409, and of many at once one is done", async () => {
    await using db = await open()
    await using setup = await setUp(db)
    const next = setup.next
    setup.next = async () => {
      await setup.go.promise
      return await next()
    }
    const all = Promise.all(
      Array.from({ length: 8 }, async () => {
        const answer = await post(setup, "a")
        if (answer.status === 409) refused++
        if (refused === 7) setup.go.resolve()
        return answer.status
      }),
    )
    let refused = 0
    assert.deepEqual((await all).sort(), [200, ...Array.from({ length: 7 }, () => 409)])
    assert.equal(setup.runs, 1)
    assert.equal((await post(setup, "a")).status, 200)
  })

  test("errors of the caller are kept; 429 and 5xx are not", async () => {
    await using db = await open()
    await using setup = await setUp(db)
    const next = setup.next
    for (const [code, kept] of [
      ["conflict", true],
      ["failed_dependency", true],
      ["rate_limited", false],
      ["budget_exhausted", false],
      ["internal", false],
    ] as const) {
      setup.next = async () => {
        throw new AppError(code, "refused")
      }
      const first = await post(setup, code)
      setup.next = next
      const second = await post(setup, code)
      assert.equal(second.status, kept ? first.status : 200, code)
      if (kept) assert.equal(second.text, first.text)
    }
  })

  test("after a day the key is free and the answer erased; until then it is readable with the key alone", async () => {
    await using db = await open()
    await using setup = await setUp(db)
    await post(setup, "a")
    const [row] = await db.read.selectFrom("idempotency").selectAll().execute()
    assert.ok(row?.sealed && !Buffer.from(row.sealed).includes("key-1"))
    assert.ok(!JSON.stringify(row).includes("key-1"))
    setup.clock.at += 24 * 3600_000 - 1
    assert.equal((await post(setup, "a")).body.api_key, "key-1")
    setup.clock.at += 2
    assert.equal((await post(setup, "a")).body.api_key, "key-2")
    setup.clock.at += 24 * 3600_000 + 1
    await setup.store.erase()
    assert.deepEqual(await db.kysely.selectFrom("idempotency").selectAll().execute(), [])
  })

  test("a server that died on the way leaves the key free for the next", async () => {
    await using db = await open()
    await using setup = await setUp(db, "boot_2")
    const id = async () => (await db.kysely.selectFrom("idempotency").select("id").executeTakeFirst())?.id ?? ""
    await post(setup, "a")
    const dead = { owner: `boot_1 ${START - 1}`, status: null, sealed: null, body_hash: "other" }
    await db.batch([
      {
        query: db.kysely
          .updateTable("idempotency")
          .set(dead)
          .where("id", "=", await id()),
      },
    ])
    assert.equal((await post(setup, "a")).body.api_key, "key-2")
  })

  test("a stream's second request joins the run of the first", async () => {
    await using db = await open()
    await using setup = await setUp(db)
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => post(setup, "a", { path: streamPath, body: chat, as: "ada/manager" })),
    )
    for (const { status, text } of answers) {
      assert.equal(status, 200)
      assert.match(text, /"run_id":"run_1"/)
    }
    assert.equal(setup.runs, 1)
    assert.equal(answers.filter((a) => a.headers.get("idempotent-replayed") === "true").length, 4)
    const other = { messages: [{ role: "user", content: "ho" }] }
    assert.equal((await post(setup, "a", { path: streamPath, body: other, as: "ada/manager" })).status, 409)
  })

  test("a key that is no key is 400, and one on a refused request is not used up", async () => {
    await using db = await open()
    await using setup = await setUp(db)
    for (const key of ["x".repeat(256), "a b", "gr\u00fc\u00df"])
      assert.equal((await post(setup, key)).status, 400, key)
    assert.equal((await post(setup, "a", { body: { grace_seconds: "x" } })).status, 400)
    assert.equal((await post(setup, "a", { as: "wrong" })).status, 401)
    await until(async () => (await post(setup, "a")).status === 200, "the key to be free")
    assert.equal(setup.runs, 1)
  })
})
