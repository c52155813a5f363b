import assert from "node:assert/strict"
import { test } from "node:test"
import { ENDPOINTS } from "@autonomis/contract/endpoints.ts"
import fc from "fast-check"
import { startApp, type TestApp } from "../app.ts"
import { forEachDatabase } from "../databases.ts"
import { badRequest, oddRequest, type WildRequest } from "./arbitrary.ts"
import { type Cast, exampleOf, expectOk, newCast } from "./cast.ts"
import { fingerprint } from "./fingerprint.ts"

const TOGETHER = 25
const BAD = process.env.TEST_LONG ? 100_000 : 5000
const ODD = process.env.TEST_LONG ? 20_000 : 1000

/** An account in which every kind of thing is there, so that there is something to change. */
async function furnish(app: TestApp): Promise<Cast> {
  const cast = await newCast(app)
  for (const id of ["files.read", "secrets.delete", "sessions.get", "runs.get"]) {
    const endpoint = ENDPOINTS.find((one) => one.id === id)
    if (endpoint) await exampleOf(endpoint, cast)
  }
  return cast
}

async function send(app: TestApp, cast: Cast, other: Cast, request: WildRequest) {
  const keys = {
    admin: app.adminKey,
    "own user": cast.user.key,
    "other user": other.user.key,
    "own agent": cast.agents.writer,
    bad: "atn_user_00000000000000000000000000000000aaaaaaa",
    none: null,
  }
  const { method, path, headers, body } = request
  const answer = await app.call(method, `/${path}`, {
    key: keys[request.who],
    headers,
    ...(body === undefined ? {} : { body }),
  })
  return { ...request, status: answer.status, text: answer.text }
}

const shown = (answer: unknown) => JSON.stringify(answer).slice(0, 2000)

forEachDatabase((_name, open) => {
  test(`${BAD} bad requests are each a clear 4xx, and change nothing`, async () => {
    await using db = await open()
    await using app = await startApp(db, { manyAddresses: true })
    const cast = await furnish(app)
    const other = await newCast(app)
    const before = await fingerprint(db, app.dataDir)
    const statuses = new Map<number, number>()
    const batch = fc.array(badRequest(cast.user.name), { minLength: TOGETHER, maxLength: TOGETHER })
    await fc.assert(
      fc.asyncProperty(batch, async (requests) => {
        for (const answer of await Promise.all(requests.map((request) => send(app, cast, other, request)))) {
          statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
          assert.ok(answer.status >= 400 && answer.status < 500, shown(answer))
          if (answer.method !== "HEAD") assert.equal(typeof JSON.parse(answer.text).error, "string", shown(answer))
        }
      }),
      { numRuns: BAD / TOGETHER, interruptAfterTimeLimit: 100 * 60_000, markInterruptAsFailure: true },
    )
    assert.deepEqual(await fingerprint(db, app.dataDir), before)
    for (const status of [400, 401, 403, 404, 405, 415]) assert.ok(statuses.get(status), `no request got ${status}`)
    assert.deepEqual(
      app.complaints.filter((line) => line.includes('"level":"error"')),
      [],
    )
  })

  test(`${ODD} odd requests, right or wrong, never break the server`, async () => {
    await using db = await open()
    await using app = await startApp(db, { manyAddresses: true })
    const cast = await furnish(app)
    const other = await newCast(app)
    const ends = new Set([
      "users.delete",
      "agents.delete",
      "users.setState",
      "users.setTier",
      "platform.pause",
      "session.delete",
    ])
    // Those would open streams without end, fill the platform, or wait for a model.
    const slow = new Set([
      "chat.send",
      "chat.stream",
      "runs.stream",
      "logs.user",
      "logs.platform",
      "users.create",
      "skills.search",
      "skills.install",
    ])
    const request = oddRequest(
      cast.user.name,
      ({ id, access }) => access !== "public" && !ends.has(id) && !slow.has(id),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(request, { minLength: TOGETHER, maxLength: TOGETHER }), async (requests) => {
        for (const answer of await Promise.all(requests.map((one) => send(app, cast, other, one))))
          assert.ok(answer.status < 500, shown(answer))
      }),
      { numRuns: ODD / TOGETHER },
    )
    await expectOk(app.call("GET", cast.path))
    assert.deepEqual(
      app.complaints.filter((line) => line.includes('"level":"error"')),
      [],
    )
  })
})
