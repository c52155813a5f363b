import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { startApp } from "../../../test/app.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import type { Database } from "../db/database.ts"
import type { UserRef } from "../http/endpoint.ts"
import { createPlans } from "../plans/plans.ts"
import { checkSecrets } from "./input.ts"
import { isReserved } from "./reserved.ts"
import { createSecrets } from "./secrets.ts"

const origin = { actor: "user:ada", ip: null, requestId: "req_1" }
const clock = { now: () => 1000 }
const masterKey = Buffer.alloc(32, 1)

async function addUser(db: Database, name: string): Promise<UserRef> {
  const id = `usr_${name}`
  const row = { id, name, email: null, display_name: null, tier: "free", state_reason: null, limits: "{}" } as const
  await db.batch([{ query: db.kysely.insertInto("users").values({ ...row, state: "active", created_at: 0 }) }])
  return { id, name, tier: "free", state: "active", limits: createPlans().limitsOf("free", {}) }
}

test("both forms come to the same, upper-cased; a name that comes twice is refused", () => {
  const agents = new Map([["a", "agt_a"]])
  const name = fc.stringMatching(/^[a-z_][a-z0-9_]{0,20}$/).map((text) => `x${text}`)
  fc.assert(
    fc.property(
      fc.dictionary(
        name,
        fc.string({ minLength: 1 }).filter((text) => !text.includes("\0")),
      ),
      (map) => {
        const list = Object.entries(map).map(([key, value]) => ({ key, value }))
        assert.deepEqual(checkSecrets(map, agents), checkSecrets(list, agents))
        for (const { key } of checkSecrets(map, agents)) assert.equal(key, key.toUpperCase())
        const [first] = list
        if (first !== undefined)
          assert.throws(
            () => checkSecrets([...list, { ...first, key: first.key.toUpperCase() }], agents),
            /given twice/,
          )
      },
    ),
    { numRuns: 200 },
  )
})

test("no secret can steer programs, their loaders, or the platform", () => {
  const names = [
    ..."PATH HOME LD_PRELOAD LD_LIBRARY_PATH NODE_OPTIONS AUTONOMIS_ADMIN_KEY IFS BASH_ENV ENV SHELL USER".split(" "),
    ..."PYTHONPATH PYTHONSTARTUP PYTHONHOME PERL5OPT RUBYOPT BASH_FUNC_LS DYLD_INSERT_LIBRARIES GIT_SSH_COMMAND".split(
      " ",
    ),
  ]
  for (const reserved of names) assert.ok(isReserved(reserved), reserved)
  for (const fine of ["GITHUB_TOKEN", "OPENAI_API_KEY", "PATHS", "MY_HOME", "USERNAME", "DATABASE_URL"])
    assert.ok(!isReserved(fine), fine)
})

forEachDatabase((_name, open) => {
  test("values are never returned nor stored in clear, and a copied row opens nowhere else", async () => {
    const db = await open()
    const [ada, bob] = [await addUser(db, "ada"), await addUser(db, "bob")]
    const secrets = createSecrets({ db, clock, masterKey })
    const value = "ghp_a_value_that_nobody_may_see"
    await secrets.put(ada, { TOKEN: value, OTHER: "something else" }, origin)
    await secrets.put(bob, { TOKEN: "bob's" }, origin)
    const rows = await db.read.selectFrom("secrets").selectAll().execute()
    for (const row of rows) assert.ok(!Buffer.from(row.sealed).toString("latin1").includes("nobody_may_see"))
    const audit = JSON.stringify(await db.read.selectFrom("audit").selectAll().execute())
    assert.ok(audit.includes("secret:ada/TOKEN,OTHER") && !audit.includes("nobody_may_see"))
    assert.equal((await secrets.environment(ada.id, "agt_1")).TOKEN, value)

    const sealed = rows.find((row) => row.user_id === ada.id && row.key === "TOKEN")?.sealed
    assert.ok(sealed)
    const move = (user: string, key: string) =>
      db.batch([
        { query: db.kysely.updateTable("secrets").set({ sealed }).where("user_id", "=", user).where("key", "=", key) },
      ])
    await move(ada.id, "OTHER")
    secrets.forget(ada.id)
    await assert.rejects(secrets.environment(ada.id, "agt_1"), { name: "SealBroken" })
    await move(bob.id, "TOKEN")
    secrets.forget(bob.id)
    await assert.rejects(secrets.environment(bob.id, "agt_1"), { name: "SealBroken" })
    const stranger = createSecrets({ db, clock, masterKey: Buffer.alloc(32, 2) })
    await assert.rejects(stranger.environment(ada.id, "agt_1"))
  })

  test("an agent sees what is given to all or to it, from the next look on, and never a provider's key", async () => {
    const db = await open()
    const ada = await addUser(db, "ada")
    const agent = (id: string, name: string, uid: number) => ({
      ...{ id, user_id: ada.id, name, description: null, is_default: 0, config: "{}", host_uid: uid, deploy: "[]" },
      ...{ memory: "", prompt_version: 1, created_at: 0, last_active_at: null },
    })
    await db.batch([{ query: db.kysely.insertInto("agents").values([agent("agt_a", "a", 1), agent("agt_b", "b", 2)]) }])
    const here = createSecrets({ db, clock, masterKey })
    const there = db.dialect === "postgres" ? createSecrets({ db, clock, masterKey }) : here
    const sees = async (id: string) => there.environment(ada.id, id)
    await here.put(
      ada,
      [
        { key: "for_all", value: "1" },
        { key: "FOR_B", value: "2", agents: ["b"] },
      ],
      origin,
    )
    assert.deepEqual([await sees("agt_a"), await sees("agt_b")], [{ FOR_ALL: "1" }, { FOR_ALL: "1", FOR_B: "2" }])
    await here.put(ada, { for_b: "3", OPENAI_API_KEY: "sk-1", OPENAI_BASE_URL: "https://x.example" }, origin)
    assert.deepEqual(await sees("agt_a"), { FOR_ALL: "1" }, "a new value leaves given who it was given to")
    assert.deepEqual(await sees("agt_b"), { FOR_ALL: "1", FOR_B: "3" })
    await here.put(ada, [{ key: "FOR_B", value: "3", agents: null }], origin)
    assert.deepEqual(await sees("agt_a"), { FOR_ALL: "1", FOR_B: "3" })
    await here.delete(ada, "for_all", origin)
    assert.deepEqual(await sees("agt_a"), { FOR_B: "3" })
    const providers = (await there.providerValues(ada.id))("agt_a")
    assert.deepEqual(
      [...providers],
      [
        ["OPENAI_API_KEY", "sk-1"],
        ["OPENAI_BASE_URL", "https://x.example"],
      ],
    )
    await here.put(ada, [{ key: "OPENAI_API_KEY", value: "sk-2", agents: ["b"] }], origin)
    const valuesOf = await there.providerValues(ada.id)
    assert.equal(valuesOf("agt_a").get("OPENAI_API_KEY"), null)
    assert.equal(valuesOf("agt_b").get("OPENAI_API_KEY"), "sk-2")
    assert.deepEqual(
      (await there.maskValues(ada.id)).map((one) => one.name),
      ["FOR_B", "OPENAI_API_KEY", "OPENAI_BASE_URL"],
    )
  })

  test("secrets over HTTP: every bad input is a 400 that says what, and then nothing is stored", async () => {
    const db = await open()
    await using app = await startApp(db)
    const key = (await app.call("POST", "/users", { body: { user: "ada" } })).body.api_key
    await app.call("POST", "/users/ada/agents", { body: { name: "manager" } })
    const put = (secrets: unknown) => app.call("PUT", "/users/ada/secrets", { key, body: { secrets } })
    const good = await put({ github_token: "ghp_example_0123456789", PIN: "1234" })
    assert.equal(good.status, 200, good.text)
    assert.ok(!good.text.includes("ghp_") && !good.text.includes("1234"))
    const list = good.body.secrets.map((one: Record<string, unknown>) => ({ ...one, updated_at: "" }))
    const shown = { value: "********", agents: null, updated_at: "" }
    assert.deepEqual(list, [
      { ...shown, key: "GITHUB_TOKEN", masked: true },
      { ...shown, key: "PIN", masked: false },
    ])

    const many = Object.fromEntries(Array.from({ length: 999 }, (_, i) => [`S${i}`, "x"]))
    const table: [input: unknown, says: RegExp][] = [
      [{ NEW: "x", PATH: "y" }, /PATH is reserved/],
      [{ NEW: "x", ld_preload: "y" }, /LD_PRELOAD is reserved/],
      [{ NEW: "x", Node_Options: "y" }, /NODE_OPTIONS is reserved/],
      [{ NEW: "x", AUTONOMIS_X: "y" }, /AUTONOMIS_X is reserved/],
      [{ NEW: "x", new: "y" }, /NEW is given twice/],
      [
        [
          { key: "NEW", value: "x" },
          { key: "new", value: "y" },
        ],
        /NEW is given twice/,
      ],
      [{ NEW: "" }, /NEW is empty/],
      [{ NEW: "x".repeat(65_537) }, /NEW is over 64 KiB/],
      [{ NEW: "a\u0000b" }, /NUL/],
      [{ "1NEW": "x" }, /no name for a variable/],
      [{ "NEW-ER": "x" }, /no name for a variable/],
      [{ ["N".repeat(129)]: "x" }, /no name for a variable/],
      [{ "": "x" }, /no name for a variable/],
      [[{ key: "NEW", value: "x", agents: ["nobody"] }], /no agent .{1,3}nobody/],
      [[{ key: "NEW", value: "x", agents: [] }], /agents/],
      [[{ key: "NEW", value: "x", other: 1 }], /unknown field/],
      [{ NEW: 5 }, /secrets/],
      ["x", /secrets/],
    ]
    for (const [input, says] of table) {
      const answer = await put(input)
      assert.equal(answer.status, 400, answer.text.slice(0, 300))
      assert.match(answer.text, says)
    }
    const tooMany = await put(many)
    assert.deepEqual([tooMany.status, tooMany.body.code, tooMany.body.limit], [403, "plan_limit", "secrets"])
    assert.deepEqual((await app.call("GET", "/users/ada/secrets", { key })).body, good.body)
    assert.equal((await put({ ["N".repeat(128)]: "x".repeat(65_536) })).status, 200)

    assert.equal((await app.call("DELETE", "/users/ada/secrets/github_token", { key })).status, 204)
    const again = await app.call("DELETE", "/users/ada/secrets/GITHUB_TOKEN", { key })
    assert.deepEqual([again.status, again.text], [404, '{"error":"secret not found"}'])
  })
})
