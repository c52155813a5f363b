import assert from "node:assert/strict"
import { test } from "node:test"
import { TEMPLATE_NAMES } from "@autonomis/contract/templates.ts"
import fc from "fast-check"
import { startApp, type TestApp } from "../../../test/app.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import type { Database } from "../db/database.ts"
import { builtInTemplates } from "./built-in.ts"

async function account(app: TestApp): Promise<void> {
  await app.call("POST", "/users", { body: { user: "ada" } })
  await app.call("POST", "/users/ada/agents", { body: { agents: [{ name: "a" }, { name: "b" }] } })
}
const versions = async (db: Database) =>
  Object.fromEntries(
    (await db.read.selectFrom("agents").select(["name", "prompt_version"]).execute()).map((row) => [
      row.name,
      row.prompt_version,
    ]),
  )

const text = fc.option(fc.string({ unit: "grapheme", maxLength: 20 }), { nil: null })
const texts = fc.record(Object.fromEntries(TEMPLATE_NAMES.map((name) => [name, text])) as Record<string, typeof text>, {
  requiredKeys: [],
})
const put = fc.record({ place: fc.constantFrom("platform", "user", "a", "b"), templates: texts })

forEachDatabase((name, open) => {
  test("whatever is put where, the agent's text stands over the user's, that over the platform's, that over the built-in", async () => {
    const db = await open()
    await using app = await startApp(db)
    await account(app)
    const builtIn: Record<string, string> = builtInTemplates()
    const path = { platform: "/agent-templates", user: "/users/ada/agent-templates" }
    const set: Record<string, Record<string, string>> = { platform: {}, user: {}, a: {}, b: {} }
    await fc.assert(
      fc.asyncProperty(put, async ({ place, templates }) => {
        const at = place === "platform" || place === "user" ? path[place] : `/users/ada/agents/${place}/templates`
        const answer = await app.call("PUT", at, { body: { templates } })
        assert.equal(answer.status, 200, answer.text)
        const own = set[place] ?? {}
        for (const [file, value] of Object.entries(templates)) {
          if (value === null || value === undefined) delete own[file]
          else own[file] = value
        }
        for (const agent of ["a", "b"]) {
          const shown = (await app.call("GET", `/users/ada/agents/${agent}/templates`)).body
          assert.deepEqual(shown.templates, set[agent])
          const layers = { ...builtIn, ...set.platform, ...set.user, ...set[agent] }
          assert.deepEqual(shown.effective, layers)
          for (const file of TEMPLATE_NAMES) {
            const source =
              set[agent]?.[file] !== undefined ? "agent" : set.user?.[file] !== undefined ? "user" : "platform"
            assert.equal(shown.source[file], source)
          }
        }
        const user = (await app.call("GET", path.user)).body
        assert.deepEqual(user.templates, { ...builtIn, ...set.platform, ...set.user })
        const platform = (await app.call("GET", path.platform)).body
        for (const file of TEMPLATE_NAMES)
          assert.equal(platform.source[file], set.platform?.[file] === undefined ? "builtin" : "platform")
      }),
      { numRuns: name === "sqlite" ? 25 : 8, seed: 7 },
    )
  })

  test("a change makes exactly those agents take a new prompt that it concerns", async () => {
    const db = await open()
    await using app = await startApp(db)
    await account(app)
    const body = { templates: { "SOUL.md": "Be brief." } }
    assert.deepEqual(await versions(db), { a: 1, b: 1 })
    await app.call("PUT", "/users/ada/agents/a/templates", { body })
    assert.deepEqual(await versions(db), { a: 2, b: 1 })
    await app.call("PUT", "/users/ada/agent-templates", { body })
    assert.deepEqual(await versions(db), { a: 3, b: 2 })
    await app.call("PUT", "/agent-templates", { body })
    assert.deepEqual(await versions(db), { a: 4, b: 3 })
  })

  test("bad templates are refused and change nothing, and the platform's are the administrator's", async () => {
    const db = await open()
    await using app = await startApp(db)
    const key = (await app.call("POST", "/users", { body: { user: "ada" } })).body.api_key
    const before = (await app.call("GET", "/users/ada/agent-templates")).text
    const table: [body: unknown, says: RegExp][] = [
      [{ templates: { "OTHER.md": "x" } }, /OTHER.md","message":"unknown field/],
      [{ templates: { "SOUL.md": "x".repeat(65_537), "USER.md": "fine" } }, /at most 64 KiB/],
      [{ templates: { "SOUL.md": "é".repeat(32_769) } }, /at most 64 KiB/],
      [{ templates: { "SOUL.md": "a\u0000b" } }, /NUL/],
      [{ templates: { "SOUL.md": 5 } }, /SOUL.md/],
      [{ "SOUL.md": "x" }, /SOUL.md/],
    ]
    for (const [body, says] of table) {
      const answer = await app.call("PUT", "/users/ada/agent-templates", { body, key })
      assert.equal(answer.status, 400, answer.text)
      assert.match(answer.text, says)
    }
    assert.equal((await app.call("GET", "/users/ada/agent-templates")).text, before)
    assert.equal((await app.call("GET", "/agent-templates", { key })).status, 403)
    assert.equal((await app.call("PUT", "/agent-templates", { key, body: { templates: {} } })).status, 403)
    const most = await app.call("PUT", "/users/ada/agent-templates", {
      body: { templates: { "SOUL.md": "x".repeat(65_536), "USER.md": "" } },
    })
    assert.deepEqual([most.status, most.body.templates["USER.md"], most.body.source["USER.md"]], [200, "", "user"])
  })
})
