import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import { forEachDatabase } from "../../../test/databases.ts"
import type { Database } from "../db/database.ts"
import type { UserRef } from "../http/endpoint.ts"
import { BUILT_IN_PLANS, createPlans } from "../plans/plans.ts"
import { forgetOlderKeys, rotateMasterKey } from "./rotate.ts"
import { createSecrets, type Secrets } from "./secrets.ts"

const origin = { actor: "admin", ip: null, requestId: "req_1" }
const clock = { now: () => 1000 }

async function addUser(db: Database, name: string): Promise<UserRef> {
  const id = `usr_${name}`
  const row = { id, name, email: null, display_name: null, tier: "free", state_reason: null, limits: "{}" } as const
  await db.batch([{ query: db.kysely.insertInto("users").values({ ...row, state: "active", created_at: 0 }) }])
  const limits = createPlans(BUILT_IN_PLANS).limitsOf("free", {})
  return { id, name, tier: "free", state: "active", limits }
}
const value = async (secrets: Secrets, { id }: UserRef) => (await secrets.environment(id, "agt_1")).TOKEN

forEachDatabase((_name, open) => {
  test("a rotation re-seals every data key while a running server reads on and seals new ones", async () => {
    const db = await open()
    const [old, next] = [randomBytes(32), randomBytes(32)]
    const server = createSecrets({ db, clock, masterKey: old })
    const users: UserRef[] = []
    for (let i = 0; i < 24; i++) {
      const user = await addUser(db, `u${i}`)
      if (i < 20) await server.put(user, { TOKEN: `value of ${i}` }, origin)
      users.push(user)
    }
    let reading = true
    const wrong: string[] = []
    const reader = (async () => {
      for (let i = 0; reading; i = (i + 1) % 20) {
        const user = users[i]
        if (user === undefined) continue
        server.forget(user.id)
        const read = await value(server, user)
        if (read !== `value of ${i}`) wrong.push(`${i}: ${read}`)
        await new Promise(setImmediate)
      }
    })()
    const [rotated] = await Promise.all([
      rotateMasterKey(db, old, next, 100),
      ...users.slice(20).map((user, i) => server.put(user, { TOKEN: `value of ${20 + i}` }, origin)),
    ])
    reading = false
    await reader
    assert.deepEqual(wrong, [])
    assert.ok(rotated.users >= 20)
    assert.deepEqual(Buffer.from(rotated.key), next)

    const restarted = createSecrets({ db, clock, masterKey: next })
    for (const [i, user] of users.entries()) assert.equal(await value(restarted, user), `value of ${i}`)

    await forgetOlderKeys(db)
    const left = createSecrets({ db, clock, masterKey: old })
    await assert.rejects(value(left, users[0] ?? assert.fail()))
    const meta = await db.read.selectFrom("meta").selectAll().execute()
    assert.deepEqual(meta, [])
  })

  test("a rotation that was broken off goes on with the key that it had begun with", async () => {
    const db = await open()
    const old = randomBytes(32)
    const server = createSecrets({ db, clock, masterKey: old })
    const user = await addUser(db, "ada")
    await server.put(user, { TOKEN: "one" }, origin)
    const first = await rotateMasterKey(db, old, null, 0)
    const again = await rotateMasterKey(db, old, null, 0)
    assert.deepEqual(again.key, first.key)
    assert.equal(again.users, 0)
    await assert.rejects(rotateMasterKey(db, old, randomBytes(32), 0), /broken off/)
    await assert.rejects(rotateMasterKey(db, first.key, first.key, 0), /the old one/)
  })
})
