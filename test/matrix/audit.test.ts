import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { ENDPOINTS } from "@autonomis/contract/endpoints.ts"
import { startApp, type TestApp } from "../app.ts"
import { forEachDatabase } from "../databases.ts"
import { type RegistryDouble, startRegistryDouble } from "../doubles/clawhub/registry.ts"
import { exampleOf, newCast } from "./cast.ts"
import { PLACES } from "./places.ts"

/** What changes nothing that outlasts it but a conversation, which its own transcript and the log tell of. */
const NO_CHANGE = new Set(["chat.send", "chat.stream", "runs.cancel", "models.test"])
/** Where the example by a key in a header would change nothing. */
const QUERY: Record<string, string> = { "session.delete": "?all=true" }

forEachDatabase((_name, open) => {
  let registry: RegistryDouble
  let app: TestApp
  before(async () => {
    registry = await startRegistryDouble()
    app = await startApp(await open(), { env: { AUTONOMIS_CLAWHUB_URL: registry.url } })
  })
  after(async () => {
    await app?.[Symbol.asyncDispose]()
    await registry?.[Symbol.asyncDispose]()
  })

  for (const endpoint of ENDPOINTS.filter(({ id, method }) => method !== "GET" && !NO_CHANGE.has(id)))
    test(`${endpoint.id} is in the audit: by whom, what, from where, under its request's id`, async () => {
      const { id, access, method } = endpoint
      const cast = await newCast(app, PLACES[id]?.bare)
      const byAdmin = access === "platform" || access === "owner-admin"
      const { path, ...rest } = await exampleOf(endpoint, cast)
      const key = byAdmin ? app.adminKey : cast.user.key
      const answer = await app.call(method, path + (QUERY[id] ?? ""), { key, ...rest })
      assert.ok(endpoint.statuses.includes(answer.status), answer.text)
      const { entries } = (await app.call("GET", "/audit?limit=200")).body
      const requestId = answer.headers.get("x-request-id")
      const [entry, ...more] = entries.filter((one: { request_id: string }) => one.request_id === requestId)
      assert.deepEqual(more, [])
      assert.equal(entry.actor, byAdmin ? "admin" : `user:${cast.user.name}`)
      assert.equal(entry.ip, "127.0.0.1")
      assert.doesNotMatch(entry.target, /\b(usr|agt|ses)_/)
      // What belongs to an account is shown to it as well; a deleted one cannot ask.
      if (!endpoint.path.includes("{user}") || id === "users.delete") return
      const own = (await app.call("GET", `${cast.path}/audit?limit=200`)).body.entries
      assert.ok(own.some((one: { request_id: string }) => one.request_id === requestId))
    })
})
