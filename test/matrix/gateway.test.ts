import assert from "node:assert/strict"
import { after, before, test } from "node:test"
import { ENDPOINTS } from "@autonomis/contract/endpoints.ts"
import { gateway } from "../../server/src/chat/gateway/endpoints.ts"
import { newKey } from "../../server/src/keys/format.ts"
import { startApp, type TestApp } from "../app.ts"
import { forEachDatabase } from "../databases.ts"
import { type Cast, exampleOf, expectOk, newCast } from "./cast.ts"

/** What each endpoint of the gateway is asked; one without a place here fails the suite. */
const PLACES: Record<string, { params?: Record<string, string>; body?: unknown; absent?: Record<string, string> }> = {
  "gateway.complete": { body: { model: "manager", messages: [{ role: "user", content: "hello" }] } },
  "gateway.models": {},
  "gateway.model": { params: { model: "manager" }, absent: { model: "nothing" } },
}

const TABLE = Object.values(gateway)

test("every endpoint of the gateway has a place in its matrix, and every place an endpoint", () => {
  assert.deepEqual(Object.keys(PLACES).sort(), TABLE.map(({ id }) => id).sort())
})

const WRONG_KEY = { status: 401, message: "missing or invalid API key", type: "authentication_error" }
const NO_USER = { status: 404, message: "user not found", type: "not_found_error" }
const NO_AGENT = { status: 404, message: "agent not found", type: "not_found_error" }

forEachDatabase((_name, open) => {
  let aheadMs = 0
  let app: TestApp
  let own: Cast
  let other: Cast
  /** By who calls: the key, and what is said of `own`'s agent `manager`; null: it is served. */
  const callers: Record<string, { key: string | null; told: typeof WRONG_KEY | null }> = {}
  const tokenOf = async (cast: Cast, agent: string, key = cast.user.key) =>
    (await expectOk(app.call("GET", `${cast.path}/agents/${agent}/connect`, { key }))).body.token

  before(async () => {
    app = await startApp(await open(), { manyAddresses: true, clock: { now: () => Date.now() + aheadMs } })
    own = await newCast(app)
    other = await newCast(app)
    const gone = await newCast(app)
    const goneToken = await tokenOf(gone, "manager")
    await expectOk(app.call("DELETE", gone.path))
    const old = await tokenOf(own, "manager")
    aheadMs = 3600_001
    Object.assign(callers, {
      "no key": { key: null, told: WRONG_KEY },
      "a bad key": { key: newKey("agent"), told: WRONG_KEY },
      "a deleted user's agent": { key: gone.agents.manager, told: WRONG_KEY },
      "a deleted user's token": { key: goneToken, told: WRONG_KEY },
      "a token that has ended": { key: old, told: WRONG_KEY },
      "the administrator": { key: app.adminKey, told: WRONG_KEY },
      "the user": { key: own.user.key, told: WRONG_KEY },
      "another user": { key: other.user.key, told: WRONG_KEY },
      "another user's agent": { key: other.agents.manager, told: NO_USER },
      "a token of another user's": { key: await tokenOf(other, "manager"), told: NO_USER },
      "another agent of the user": { key: own.agents.writer, told: NO_AGENT },
      "a token of another agent of the user": { key: await tokenOf(own, "writer"), told: NO_AGENT },
      "the agent": { key: own.agents.manager, told: null },
      "a token of the user's": { key: await tokenOf(own, "manager"), told: null },
      "a token of the agent's": { key: await tokenOf(own, "manager", own.agents.manager), told: null },
    })
  })
  after(() => app?.[Symbol.asyncDispose]())

  for (const { id, method, path } of TABLE) {
    const place = PLACES[id] ?? {}
    const ask = async (key: string | null, user: string, agent: string, params = place.params) => {
      const values: Record<string, string> = { user, agent, ...params }
      const at = path.replace(/\{(\w+)\}/g, (_, name: string) => values[name] ?? "")
      const body = place.body === undefined ? {} : { body: place.body }
      const { status, body: said } = await app.call(method, `/${at}`, { key, ...body })
      if (status < 400) return { status }
      const { message, type, ...rest } = said.error
      assert.deepEqual(rest, { code: null, param: null })
      return { status, message, type }
    }

    test(`${id}: who may is served, everybody else is told the same whether it is there or not`, async () => {
      for (const [who, { key, told }] of Object.entries(callers)) {
        assert.deepEqual(await ask(key, own.user.name, "manager"), told ?? { status: 200 }, who)
        const isKey = told?.status !== 401
        assert.deepEqual(await ask(key, "nobody-there", "manager"), isKey ? NO_USER : told, `${who}, no such user`)
        const isOwn = isKey && told !== NO_USER
        const away = await ask(key, own.user.name, "nobody-there")
        assert.deepEqual(away, isOwn ? NO_AGENT : told, `${who}, no such agent`)
        if (told !== null || place.absent === undefined) continue
        assert.equal((await ask(key, own.user.name, "manager", place.absent)).status, 404, `${who}, not there`)
      }
    })
  }

  test("a token of the gateway opens nothing of the API", async () => {
    const key = await tokenOf(own, "manager")
    for (const endpoint of ENDPOINTS.filter(({ access }) => access !== "public")) {
      const { path, ...rest } = await exampleOf(endpoint, own, true)
      const { status, text } = await app.call(endpoint.method, path, { key, ...rest })
      assert.deepEqual([status, text], [401, '{"error":"missing or invalid API key"}'], endpoint.id)
    }
  })

  test("a suspended user's keys are told so", async () => {
    await expectOk(app.call("PUT", `${other.path}/state`, { body: { state: "suspended" } }))
    for (const { id, method, path } of TABLE) {
      const at = path.replace("{user}", other.user.name).replace(/\{\w+\}/g, "manager")
      const body = PLACES[id]?.body === undefined ? {} : { body: PLACES[id].body }
      const answer = await app.call(method, `/${at}`, { key: other.agents.manager, ...body })
      assert.deepEqual([answer.status, answer.body.error.code], [403, "suspended"], id)
    }
  })
})
