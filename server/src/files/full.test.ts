import assert from "node:assert/strict"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { startApp } from "../../../test/app.ts"
import { freshSqlite } from "../../../test/databases.ts"
import { BUILT_IN_PLANS } from "../plans/plans.ts"

const LIMIT = 100_000

test("uploads over the plan's storage are refused, however small and many, and the server goes on", async () => {
  const folder = await mkdtemp(join(tmpdir(), "autonomis-full-"))
  try {
    const plansFile = join(folder, "plans.json")
    const plans = BUILT_IN_PLANS.plans.map(({ tier, limits }) => ({
      tier,
      limits: { ...limits, storage_bytes: LIMIT, requests_per_minute: null },
    }))
    await writeFile(plansFile, JSON.stringify({ ...BUILT_IN_PLANS, plans }))
    await using db = await freshSqlite()
    await using app = await startApp(db, { env: { AUTONOMIS_PLANS_FILE: plansFile } })
    const { api_key: key } = (await app.call("POST", "/users", { body: { user: "ada" } })).body
    await app.call("POST", "/users/ada/agents", { key, body: { name: "manager" } })
    const put = (name: string, bytes: number) =>
      app.call("PUT", `/users/ada/agents/manager/files/${name}`, { key, body: Buffer.alloc(bytes, 1) })

    assert.equal((await put("most", LIMIT - 10)).status, 201)
    const small = await Promise.all(Array.from({ length: 20 }, (_, i) => put(`folder/small-${i}`, 11)))
    for (const { status, body } of small) assert.deepEqual([status, body.code], [403, "plan_limit"])
    assert.equal((await put("most", LIMIT)).status, 200)
    assert.equal((await app.call("GET", "/users/ada", { key })).status, 200)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
