import assert from "node:assert/strict"
import { test } from "node:test"
import { forEachDatabase, type TestDatabase } from "../../../test/databases.ts"
import { oneLine } from "./escape.ts"
import { createLogs, type LogLine } from "./logs.ts"

const NOW = Date.parse("2026-03-01T09:30:00.000Z")
const line = (message: string, more: Partial<LogLine> = {}): LogLine => ({
  userId: "usr_a",
  level: "info",
  source: "sandbox",
  message,
  ...more,
})

async function addUser(db: TestDatabase, id: string, state: "active" | "deleting" = "active"): Promise<void> {
  const values = { id, name: id, email: null, display_name: null, tier: "free", state, state_reason: null }
  await db.batch([{ query: db.kysely.insertInto("users").values({ ...values, limits: "{}", created_at: NOW }) }])
}

test("one entry is one line, whatever a sandbox writes, and nothing of it moves a terminal", () => {
  const nasty = "a\r\nb\u001b[31mred\u001b]0;title\u0007\u009b2J\u2028x\u202egpj.exe\0\u007f"
  assert.equal(
    oneLine(nasty, 1000),
    "a\\r\\nb\\u001b[31mred\\u001b]0;title\\u0007\\u009b2J\\u2028x\\u202egpj.exe\\u0000\\u007f",
  )
  assert.equal(oneLine("gr\u00fc\u00dfe \u{1f600}", 1000), "gr\u00fc\u00dfe \u{1f600}")
  assert.ok(oneLine("\u{1f600}".repeat(10), 5).isWellFormed())
  assert.equal(oneLine("x".repeat(50), 10), `${"x".repeat(10)}…`)
})

forEachDatabase((_name, open) => {
  test("lines come back in order, by account, agent and time, and never another account's", async () => {
    await using db = await open()
    await addUser(db, "usr_a")
    await addUser(db, "usr_b")
    let now = NOW
    await using logs = createLogs({ db, clock: { now: () => now++ } })
    for (let i = 0; i < 30; i++) logs.write(line(`line ${i}`, { agentName: i % 2 ? "odd" : "even", agentId: "agt_1" }))
    logs.write(line("of b", { userId: "usr_b" }))
    logs.write(line("of the platform", { userId: null, source: "platform" }))
    const texts = async (...of: Parameters<typeof logs.tail>) => (await logs.tail(...of)).map((l) => l.entry.message)
    assert.deepEqual(await texts({ userId: "usr_a" }, 3), ["line 27", "line 28", "line 29"])
    assert.deepEqual(await texts({ userId: "usr_a", agentName: "even" }, 2), ["line 26", "line 28"])
    assert.deepEqual(await texts({ userId: "usr_a", since: NOW + 28 }, 100), ["line 28", "line 29"])
    assert.deepEqual(await texts({ userId: "usr_b" }, 100), ["of b"])
    assert.deepEqual(await texts({ userId: null }, 100), ["of the platform"])
    assert.deepEqual(await texts({ userId: "usr_a" }, 0), [])
  })

  test("nothing is written for a user who is being deleted", async () => {
    await using db = await open()
    await addUser(db, "usr_a", "deleting")
    await using logs = createLogs({ db, clock: { now: () => NOW } })
    logs.write(line("late"))
    logs.write(line("of nobody", { userId: "usr_gone" }))
    await logs.flush()
    assert.equal((await db.read.selectFrom("logs").select("id").execute()).length, 0)
  })

  test("a follower gets each line once, also those that another server writes, and leaves nothing behind", async () => {
    await using db = await open()
    await addUser(db, "usr_a")
    const clock = { now: () => NOW }
    await using here = createLogs({ db, clock, pollMs: 20 })
    await using there = createLogs({ db: await db.another(), clock, pollMs: 20 })
    here.write(line("before"))
    const from = await here.newest()
    const stop = new AbortController()
    const got: string[] = []
    const following = (async () => {
      for await (const lines of here.follow({ userId: "usr_a" }, from, stop.signal)) {
        got.push(...lines.map((l) => l.entry.message))
        if (got.length >= 40) stop.abort()
      }
    })()
    const expected: string[] = []
    for (let i = 0; i < 20; i++) {
      for (const [name, logs] of Object.entries({ here, there })) {
        logs.write(line(`${name} ${i}`))
        expected.push(`${name} ${i}`)
        await logs.flush()
      }
    }
    await following
    assert.deepEqual(got.sort(), expected.sort())
  })

  test("lines are kept for a set time and, for each account, up to a set size", async () => {
    await using db = await open()
    await addUser(db, "usr_a")
    await addUser(db, "usr_b")
    let now = NOW
    await using logs = createLogs({ db, clock: { now: () => now }, keptMs: 1000, keptBytes: 20_000 })
    logs.write(line("quiet", { userId: "usr_b" }))
    for (let i = 0; i < 200; i++) {
      logs.write(line(`${i} ${"x".repeat(500)}`))
      await logs.flush()
    }
    const left = await logs.tail({ userId: "usr_a" }, 1000)
    assert.ok(left.length > 20 && left.length < 40, `${left.length} lines are left`)
    assert.ok(left.at(-1)?.entry.message.startsWith("199 "))
    assert.equal((await logs.tail({ userId: "usr_b" }, 10)).length, 1)
    now += 2000
    logs.write(line("new"))
    await logs.flush()
    await logs.expire()
    assert.deepEqual(
      (await logs.tail({ userId: "usr_a" }, 1000)).map((l) => l.entry.message),
      ["new"],
    )
    assert.deepEqual(await logs.tail({ userId: "usr_b" }, 10), [])
  })

  test("more lines than can be stored are dropped, counted and told, and memory stays bounded", async () => {
    await using db = await open()
    await addUser(db, "usr_a")
    await using logs = createLogs({ db, clock: { now: () => NOW }, keptBytes: 1 << 30 })
    for (let i = 0; i < 25_000; i++) logs.write(line("x"))
    await logs.flush()
    const [note] = await logs.tail({ userId: null }, 10)
    assert.match(note?.entry.message ?? "", /^5000 log lines were dropped/)
  })

  test("what was written before the end is stored at the end", async () => {
    await using db = await open()
    await addUser(db, "usr_a")
    {
      await using logs = createLogs({ db, clock: { now: () => NOW } })
      logs.write(line("last words\n"))
    }
    const rows = await db.read.selectFrom("logs").select("message").execute()
    assert.deepEqual(
      rows.map((r) => r.message),
      ["last words"],
    )
  })
})
