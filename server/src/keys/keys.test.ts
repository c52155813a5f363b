import assert from "node:assert/strict"
import { test } from "node:test"
import { sql } from "kysely"
import { forEachDatabase, type TestDatabase } from "../../../test/databases.ts"
import { until } from "../../../test/until.ts"
import type { Database } from "../db/database.ts"
import type { Principal } from "../http/endpoint.ts"
import { silentLogger } from "../lib/log.ts"
import { createPlans } from "../plans/plans.ts"
import { createKeys, hashKey, type Keys, newKey } from "./keys.ts"

/** Well over the longest that a notice may take on a loaded machine; the promise is a second. */
const SECOND_MS = 1000

function clockAt(ms: number) {
  const clock = { ms, now: () => clock.ms }
  return clock
}

function keysOn(db: Database, clock = clockAt(1_000_000)): Keys {
  return createKeys({ db, clock, plans: createPlans(), log: silentLogger })
}

async function addUser(db: Database, id: string): Promise<void> {
  const row = { id, name: id.replace("_", "-"), email: null, display_name: null, tier: "free", created_at: 0 }
  await db.batch([
    { query: db.kysely.insertInto("users").values({ ...row, state: "active", state_reason: null, limits: "{}" }) },
  ])
}

async function issued(keys: Keys, owner: Parameters<Keys["issue"]>[0]): Promise<{ key: string; hash: string }> {
  const { key, hash, step } = keys.issue(owner)
  await keys.commit(owner.userId, [step])
  return { key, hash }
}

const user = { kind: "user", userId: "usr_1", agentId: null } as const
const agent = { kind: "agent", userId: "usr_1", agentId: "agt_1" } as const

async function authenticated(keys: Keys, key: string): Promise<Principal> {
  const principal = await keys.authenticate(key)
  assert.ok(principal)
  return principal
}

forEachDatabase((name, open) => {
  test("a key says whose it is, with the plan's limits, and is stored as a hash alone", async () => {
    const db = await open()
    await using keys = keysOn(db)
    await addUser(db, "usr_1")
    const { key, hash } = await issued(keys, user)
    const principal = await authenticated(keys, key)
    assert.deepEqual(
      { ...principal, limits: principal.limits?.agents },
      {
        kind: "user",
        keyHash: hash,
        userId: "usr_1",
        agentId: null,
        suspended: false,
        limits: 3,
        impersonatedBy: null,
      },
    )
    assert.equal((await authenticated(keys, (await issued(keys, agent)).key)).kind, "agent")
    const stored = JSON.stringify(await db.read.selectFrom("api_keys").selectAll().execute())
    assert.ok(stored.includes(hashKey(key)))
    assert.ok(!stored.includes(key.slice(9, 30)))
  })

  test("an unknown, ended, or mistyped key opens nothing", async () => {
    const db = await open()
    const clock = clockAt(1000)
    await using keys = keysOn(db, clock)
    await addUser(db, "usr_1")
    const { key } = await issued(keys, { ...user, expiresAt: 5000 })
    assert.ok(await keys.authenticate(key))
    assert.equal(await keys.authenticate(newKey("user")), null)
    assert.equal(await keys.authenticate(`${key.slice(0, -1)}${key.endsWith("0") ? "1" : "0"}`), null)
    assert.equal(await keys.authenticate(""), null)
    clock.ms = 5000
    assert.equal(await keys.authenticate(key), null)
  })

  test("the administrator's key may have any form, and another one ends it with all that it opened", async () => {
    const db = await open()
    await using keys = keysOn(db)
    await addUser(db, "usr_1")
    const chosen = "correct horse battery staple"
    await keys.setAdmin(chosen)
    const admin = await authenticated(keys, chosen)
    assert.equal(admin.kind, "admin")
    const cookie = await issued(keys, { ...user, kind: "cookie", parentHash: admin.keyHash, impersonatedBy: "admin" })
    const looking = await authenticated(keys, cookie.key)
    assert.equal(looking.impersonatedBy, "admin")
    const [looks, ended] = [keys.watch(looking), keys.watch(admin)]

    await keys.setAdmin(chosen)
    assert.ok(await keys.authenticate(chosen))
    assert.ok(!ended.aborted)

    await keys.setAdmin("another one entirely")
    assert.equal(await keys.authenticate(chosen), null)
    assert.equal(await keys.authenticate(cookie.key), null)
    assert.ok(looks.aborted && ended.aborted)
  })

  test("a sign-in and a gateway's token die with the key that they were opened with", async () => {
    const db = await open()
    const clock = clockAt(1000)
    await using keys = keysOn(db, clock)
    await addUser(db, "usr_1")
    const root = await issued(keys, user)
    const cookie = await issued(keys, { ...user, kind: "cookie", parentHash: root.hash })
    const token = await issued(keys, { ...agent, kind: "gateway", parentHash: cookie.hash })
    assert.equal((await keys.authenticate(token.key, "gateway"))?.agentId, "agt_1")
    assert.equal(await keys.authenticate(token.key), null, "a gateway's token opens the gateway alone")
    assert.equal(await keys.authenticate(root.key, "gateway"), null, "a user's key does not open the gateway")
    const signals = await Promise.all([
      keys.watch(await authenticated(keys, root.key)),
      keys.watch(await authenticated(keys, cookie.key)),
    ])
    const { key, steps } = keys.rotate(user, 0)
    await keys.commit("usr_1", steps)
    for (const signal of signals) assert.ok(signal.aborted)
    assert.equal(await keys.authenticate(root.key), null)
    assert.equal(await keys.authenticate(cookie.key), null)
    assert.equal(await keys.authenticate(token.key, "gateway"), null)
    assert.ok(await keys.authenticate(key))
    const left = await db.read.selectFrom("api_keys").select("hash").execute()
    assert.deepEqual(
      left.map((row) => row.hash),
      [hashKey(key)],
    )
  })

  test("after a rotation with grace the old key lives until then, and its streams end with it", async () => {
    const db = await open()
    const clock = clockAt(1000)
    await using keys = keysOn(db, clock)
    await addUser(db, "usr_1")
    const old = await issued(keys, user)
    const watched = keys.watch(await authenticated(keys, old.key))
    const { key, steps } = keys.rotate(user, 60_000)
    await keys.commit("usr_1", steps)
    clock.ms += 59_999
    assert.ok(await keys.authenticate(old.key))
    assert.ok(!watched.aborted)
    clock.ms += 1
    assert.equal(await keys.authenticate(old.key), null)
    await until(() => watched.aborted, "the old key's stream to end")
    assert.ok(await keys.authenticate(key))
  })

  test("suspending ends what runs with a user's keys, and they still say whose they are", async () => {
    const db = await open()
    await using keys = keysOn(db)
    await addUser(db, "usr_1")
    await addUser(db, "usr_2")
    const { key } = await issued(keys, user)
    const other = await issued(keys, { ...user, userId: "usr_2" })
    const [signal, others] = [
      keys.watch(await authenticated(keys, key)),
      keys.watch(await authenticated(keys, other.key)),
    ]
    const suspend = db.kysely.updateTable("users").set({ state: "suspended" }).where("id", "=", "usr_1")
    await keys.commit("usr_1", [{ query: suspend }])
    assert.ok(signal.aborted)
    assert.ok(!others.aborted)
    const principal = await authenticated(keys, key)
    assert.ok(principal.suspended)
    assert.ok(!keys.watch(principal).aborted, "reading the account stays allowed")
  })

  test("a key that was revoked before its stream began ends the stream at once", async () => {
    const db = await open()
    await using keys = keysOn(db)
    await addUser(db, "usr_1")
    const { key, hash } = await issued(keys, user)
    const principal = await authenticated(keys, key)
    await keys.revoke("usr_1", hash)
    const signal = keys.watch(principal)
    await until(() => signal.aborted, "the stream to end")
  })

  test("a one-time link works once, in its time, and not after the key that made it", async () => {
    const db = await open()
    const clock = clockAt(1000)
    await using keys = keysOn(db, clock)
    await addUser(db, "usr_1")
    const own = await issued(keys, user)
    await keys.setAdmin("correct horse battery staple")
    const parentHash = hashKey("correct horse battery staple")
    const link = () => issued(keys, { ...user, kind: "link", parentHash, expiresAt: clock.ms + 1000 })
    const first = await link()
    assert.equal(await keys.authenticate(first.key), null, "a link is no key")
    assert.deepEqual(await keys.redeemLink(first.key), { userId: "usr_1", agentId: null, keyHash: own.hash })
    assert.equal(await keys.redeemLink(first.key), null)
    const late = await link()
    clock.ms += 1000
    assert.equal(await keys.redeemLink(late.key), null)
    const orphan = await link()
    await keys.setAdmin("another one entirely")
    assert.equal(await keys.redeemLink(orphan.key), null)
    assert.equal(await keys.redeemLink("nonsense"), null)
  })

  if (name === "postgres") {
    const twoServers = async (db: TestDatabase) => {
      const [a, b] = [keysOn(db), keysOn(await db.another())]
      await addUser(db, "usr_1")
      const { key, hash } = await issued(a, user)
      const signal = b.watch(await authenticated(b, key))
      return { a, b, key, hash, signal }
    }

    test("a revoked key stops within a second on every server that shares the database", async () => {
      const { a, b, key, hash, signal } = await twoServers(await open())
      await a.revoke("usr_1", hash)
      assert.equal(await a.authenticate(key), null)
      await until(async () => signal.aborted && (await b.authenticate(key)) === null, "the other server", SECOND_MS)
      await a[Symbol.asyncDispose]()
      await b[Symbol.asyncDispose]()
    })

    test("it stops there also while notices cannot be heard", async () => {
      const db = await open()
      const { a, b, key, hash, signal } = await twoServers(db)
      let cutting = true
      const cut = async () => {
        while (cutting) {
          await sql`select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen %' or query = 'select 1'`
            .execute(db.kysely)
            .catch(() => {})
          await new Promise(setImmediate)
        }
      }
      const cutter = cut()
      await a.revoke("usr_1", hash)
      await until(async () => signal.aborted && (await b.authenticate(key)) === null, "the other server", SECOND_MS)
      cutting = false
      await cutter
      await a[Symbol.asyncDispose]()
      await b[Symbol.asyncDispose]()
    })
  }
})
