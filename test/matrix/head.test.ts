import assert from "node:assert/strict"
import { test } from "node:test"
import { ENDPOINTS } from "@autonomis/contract/endpoints.ts"
import { BASE_PATH } from "../../server/src/http/paths.ts"
import { startApp } from "../app.ts"
import { forEachDatabase } from "../databases.ts"
import { startRegistryDouble } from "../doubles/clawhub/registry.ts"
import { exampleOf, newCast } from "./cast.ts"
import { fingerprint } from "./fingerprint.ts"
import { PLACES } from "./places.ts"

forEachDatabase((_name, open) => {
  test("HEAD of every endpoint changes nothing: as GET without a body, or 405 where there is no GET", async () => {
    await using registry = await startRegistryDouble()
    const db = await open()
    await using app = await startApp(db, { env: { AUTONOMIS_CLAWHUB_URL: registry.url } })
    const cast = await newCast(app)
    const asked = []
    for (const endpoint of ENDPOINTS) {
      // What an example needs to be there may be in the way of another's.
      const own = PLACES[endpoint.id]?.before ? await newCast(app) : cast
      asked.push({ endpoint, request: await exampleOf(endpoint, own) })
    }
    const gets = new Set(ENDPOINTS.filter(({ method }) => method === "GET").map(placeOf))
    const before = await fingerprint(db, app.dataDir)
    for (const { endpoint, request } of asked) {
      const { status, headers, text } = await app.call("HEAD", request.path, { key: app.adminKey })
      assert.equal(text, "", endpoint.id)
      // What an example would make is not there yet.
      const expected = endpoint.method === "GET" ? [200] : gets.has(placeOf(endpoint)) ? [200, 404] : [405]
      assert.ok(expected.includes(status), `HEAD ${request.path} (${endpoint.id}): ${status}`)
      if (status === 405) assert.doesNotMatch(headers.get("allow") ?? "HEAD", /HEAD|GET/, endpoint.id)
    }
    assert.deepEqual(await fingerprint(db, app.dataDir), before)

    // The same of GET, but for the one that makes a token.
    for (const { endpoint, request } of asked) {
      if (endpoint.method !== "GET" || endpoint.id === "agents.connect") continue
      assert.equal((await app.call("GET", request.path, { key: app.adminKey })).status, 200, endpoint.id)
    }
    assert.deepEqual(await fingerprint(db, app.dataDir), before)
    const connect = `/${BASE_PATH}${cast.path}/agents/manager/connect`
    assert.equal((await app.call("GET", connect)).status, 200)
    const { api_keys, audit } = await fingerprint(db, app.dataDir)
    assert.ok(api_keys !== before.api_keys && audit !== before.audit)
  })
})

const placeOf = ({ versioned, path }: { versioned: boolean; path: string }) =>
  `${versioned} ${path.replaceAll("*", "")}`
