import assert from "node:assert/strict"
import { after, before, describe, test } from "node:test"
import type { Endpoint } from "@autonomis/contract/endpoint.ts"
import { ENDPOINTS } from "@autonomis/contract/endpoints.ts"
import { newKey } from "../../server/src/keys/format.ts"
import { type AppAnswer, startApp, type TestApp } from "../app.ts"
import { forEachDatabase } from "../databases.ts"
import { type RegistryDouble, startRegistryDouble } from "../doubles/clawhub/registry.ts"
import { type Cast, exampleOf, expectOk, newCast } from "./cast.ts"
import { PLACES } from "./places.ts"

const CALLERS = [
  "no key",
  "bad key",
  "deleted user's key",
  "expired key",
  "admin",
  "own user",
  "other user",
  "own agent",
  "other agent of the user",
] as const
type Caller = (typeof CALLERS)[number]

const NO_KEY: readonly Caller[] = ["no key", "bad key", "deleted user's key", "expired key"]
/** Who may, by the endpoint's access; everybody else is refused. */
const MAY: Record<Endpoint["access"], readonly Caller[]> = {
  public: CALLERS,
  any: ["admin", "own user", "other user", "own agent", "other agent of the user"],
  platform: ["admin"],
  owner: ["admin", "own user"],
  "owner-admin": ["admin"],
  agent: ["admin", "own user", "own agent"],
}

const NO_USER = { error: "user not found" }
const NO_AGENT = { error: "agent not found" }

/** What a caller who may not is told about an endpoint. */
function refusal({ path }: Endpoint, caller: Caller): { status: number; body: object } {
  if (NO_KEY.includes(caller)) return { status: 401, body: { error: "missing or invalid API key" } }
  if (path.startsWith("/users/{user}") && caller === "other user") return { status: 404, body: NO_USER }
  if (path.includes("{agent}") && caller === "other agent of the user") return { status: 404, body: NO_AGENT }
  return { status: 403, body: { error: "this API key may not do that", code: "forbidden" } }
}

test("every endpoint has a place in the matrix, and every place an endpoint", () => {
  assert.deepEqual(Object.keys(PLACES).sort(), ENDPOINTS.map(({ id }) => id).sort())
  for (const { id, path, example } of ENDPOINTS) {
    assert.ok(example, `${id} has no example`)
    const own = [...path.matchAll(/\{(\w+)\*?\}/g)]
      .map(([, name = ""]) => name)
      .filter((n) => !/^(user|agent)$/.test(n))
    for (const name of own) assert.ok(example.params?.[name], `the example of ${id} names no ${name}`)
  }
})

forEachDatabase((_name, open) => {
  let aheadMs = 0
  let registry: RegistryDouble
  let app: TestApp
  let shared: Cast
  let other: Cast
  const dead: Partial<Record<Caller, string>> = {}

  before(async () => {
    registry = await startRegistryDouble()
    app = await startApp(await open(), {
      env: { AUTONOMIS_CLAWHUB_URL: registry.url },
      manyAddresses: true,
      clock: { now: () => Date.now() + aheadMs },
    })
    shared = await newCast(app)
    other = await newCast(app)
    const gone = await newCast(app)
    await expectOk(app.call("DELETE", gone.path))
    dead["deleted user's key"] = gone.user.key
    const rotated = await newCast(app)
    await expectOk(app.call("POST", `${rotated.path}/rotate-key`, { body: { grace_seconds: 60 } }))
    await expectOk(app.call("GET", rotated.path, { key: rotated.user.key }))
    aheadMs = 61_000
    dead["expired key"] = rotated.user.key
    dead["bad key"] = newKey("user")
  })
  after(async () => {
    await app?.[Symbol.asyncDispose]()
    await registry?.[Symbol.asyncDispose]()
  })

  const keyOf = (caller: Caller, cast: Cast): string | null => {
    switch (caller) {
      case "no key":
        return null
      case "admin":
        return app.adminKey
      case "own user":
        return cast.user.key
      case "other user":
        return other.user.key
      case "own agent":
        return cast.agents.manager
      case "other agent of the user":
        return cast.agents.writer
      default:
        return dead[caller] ?? ""
    }
  }
  const seen = ({ status, body }: AppAnswer) => ({ status, body })

  test("every endpoint of the contract is served", async () => {
    for (const endpoint of ENDPOINTS) {
      const { path } = await exampleOf(endpoint, shared, true)
      const answer = await app.call("OPTIONS", path.replace(/\{\w+\}/g, "x"), { key: null })
      const allow = answer.headers.get("allow") ?? ""
      assert.ok(allow.split(", ").includes(endpoint.method), `${endpoint.id}: ${allow}`)
    }
  })

  for (const endpoint of ENDPOINTS) {
    describe(`${endpoint.id} (${endpoint.access})`, () => {
      const may = MAY[endpoint.access]
      const place = PLACES[endpoint.id] ?? {}

      test("refuses everybody else alike, whether there or not", async () => {
        for (const caller of CALLERS.filter((one) => !may.includes(one))) {
          const key = keyOf(caller, shared)
          const { path, ...rest } = await exampleOf(endpoint, shared, true)
          const there = await app.call(endpoint.method, path, { key, ...rest })
          assert.deepEqual(seen(there), refusal(endpoint, caller), caller)
          if (!endpoint.path.includes("{user}")) continue
          const away = await app.call(endpoint.method, path.replace(shared.user.name, "nobody-there"), { key, ...rest })
          const expected = NO_KEY.includes(caller) ? refusal(endpoint, caller) : { status: 404, body: NO_USER }
          assert.deepEqual(seen(away), expected, `${caller}, user not there`)
          if (caller === "other user") assert.equal(away.text, there.text)
        }
      })

      test("does its example for each who may", async () => {
        for (const caller of may) {
          // What only reads does not need an account of its own.
          const fresh = endpoint.method !== "GET" || place.before !== undefined
          const cast = fresh ? await newCast(app, place.bare) : shared
          const { path, ...rest } = await exampleOf(endpoint, cast)
          const answer = await app.call(endpoint.method, path, { key: keyOf(caller, cast), ...rest })
          assert.ok(endpoint.statuses.includes(answer.status), `${caller}: ${answer.status} ${answer.text}`)
          const shown = endpoint.example?.response
          if (shown !== undefined) assert.deepEqual(answer.body, shown)
        }
      })

      test("is 404 for each who may when user, agent or thing is not there", async () => {
        for (const caller of may) {
          const key = keyOf(caller, shared)
          const { path, ...rest } = await exampleOf(endpoint, shared, true)
          const ask = (at: string) => app.call(endpoint.method, at, { key, ...rest })
          if (endpoint.path.includes("{user}"))
            assert.deepEqual(seen(await ask(path.replace(shared.user.name, "nobody-there"))), {
              status: 404,
              body: NO_USER,
            })
          if (endpoint.path.includes("{agent}")) {
            const away = await ask(path.replace("/agents/manager", "/agents/nobody-there"))
            assert.deepEqual(seen(away), { status: 404, body: NO_AGENT })
          }
          if (place.absent !== undefined) {
            const { status, body } = await ask(path)
            assert.equal(status, 404, `${caller}: ${JSON.stringify(body)}`)
            assert.equal(typeof body.error, "string")
          }
        }
      })
    })
  }

  test("nobody got more than an error out of the server", () => {
    assert.deepEqual(
      app.complaints.filter((line) => line.includes('"level":"error"')),
      [],
    )
  })
})
