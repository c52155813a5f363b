import assert from "node:assert/strict"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { startApp, type TestApp } from "../../../test/app.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import { startRegistryDouble } from "../../../test/doubles/clawhub/registry.ts"
import { makeZip, skillMd } from "../../../test/zip.ts"
import { BUILT_IN_PLANS } from "../plans/plans.ts"

const KIB = 1024

const put = (app: TestApp, id: string, body: string | Buffer, key: string, type = "text/markdown") =>
  app.call("PUT", `/users/ada/skills/${id}/file`, { key, body, headers: { "Content-Type": type } })

forEachDatabase((_name, open) => {
  test("every answer about skills is as the contract says, and every change is in the audit", async () => {
    await using db = await open()
    await using registry = await startRegistryDouble()
    await using app = await startApp(db, { env: { AUTONOMIS_CLAWHUB_URL: registry.url } })
    const key: string = (await app.call("POST", "/users", { body: { user: "ada" } })).body.api_key
    const asAda = (method: string, path: string, body?: unknown) =>
      app.call(method, `/users/ada/skills${path}`, { key, ...(body === undefined ? {} : { body }) })

    assert.equal((await put(app, "greeter", skillMd("greeter"), key)).status, 201)
    const zip = makeZip([
      { name: "SKILL.md", data: skillMd("greeter") },
      { name: "a.txt", data: "a" },
    ])
    assert.equal((await put(app, "greeter", zip, key, "application/zip")).status, 200)
    assert.equal((await asAda("POST", "/hello-world/registry-install")).status, 201)
    assert.equal((await asAda("POST", "/risky/registry-install", { accept_risk: true })).status, 201)
    const { body } = await asAda("GET", "")
    assert.deepEqual(
      body.skills.map((skill: { id: string }) => skill.id),
      ["greeter", "hello-world", "risky"],
    )
    assert.equal((await asAda("GET", "/registry?q=risky")).body.skills[0].installed, true)
    assert.equal((await asAda("GET", "/greeter/file")).text, skillMd("greeter"))
    assert.deepEqual(
      [(await asAda("DELETE", "/greeter/file")).status, (await asAda("GET", "")).body.skills.length],
      [204, 2],
    )
    assert.equal((await asAda("GET", "/registry")).status, 400)

    const audit = await app.call("GET", "/users/ada/audit", { key })
    const actions = audit.body.entries.map(
      (entry: { actor: string; action: string }) => `${entry.actor} ${entry.action}`,
    )
    // Sorted: two changes of one moment have no order.
    assert.deepEqual(actions.filter((action: string) => action.includes(" skills.")).sort(), [
      "user:ada skills.accept_risk",
      "user:ada skills.delete",
      "user:ada skills.install",
      "user:ada skills.install",
      "user:ada skills.upload",
      "user:ada skills.upload",
    ])
    assert.deepEqual(
      app.complaints.filter((line) => !line.includes("WITHOUT ANY SANDBOX")),
      [],
    )
  })

  test("skills count against the plan's storage, and give it back", async () => {
    await using db = await open()
    const folder = mkdtempSync(join(tmpdir(), "autonomis-plans-"))
    try {
      const plans = structuredClone(BUILT_IN_PLANS)
      for (const plan of plans.plans) plan.limits.storage_bytes = 100 * KIB
      writeFileSync(join(folder, "plans.json"), JSON.stringify(plans))
      await using app = await startApp(db, { env: { AUTONOMIS_PLANS_FILE: join(folder, "plans.json") } })
      const key: string = (await app.call("POST", "/users", { body: { user: "ada" } })).body.api_key
      const big = (id: string) => skillMd(id) + "x".repeat(60 * KIB)
      assert.equal((await put(app, "one", big("one"), key)).status, 201)
      const refused = await put(app, "two", big("two"), key)
      assert.deepEqual([refused.status, refused.body.code], [403, "plan_limit"])
      assert.equal((await put(app, "one", big("one"), key)).status, 200)
      await app.call("DELETE", "/users/ada/skills/one/file", { key })
      assert.equal((await put(app, "two", big("two"), key)).status, 201)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  test("a user who is deleted takes their skills along, and the next of that name has none", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const key: string = (await app.call("POST", "/users", { body: { user: "ada" } })).body.api_key
    await put(app, "greeter", skillMd("greeter"), key)
    assert.equal((await app.call("DELETE", "/users/ada")).status, 204)
    const next: string = (await app.call("POST", "/users", { body: { user: "ada" } })).body.api_key
    assert.deepEqual((await app.call("GET", "/users/ada/skills", { key: next })).body, { skills: [] })
  })
})
