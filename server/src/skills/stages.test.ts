import assert from "node:assert/strict"
import { test } from "node:test"
import { ErrorBody } from "@autonomis/contract/errors.ts"
import { INSTALL_EVENTS, Skill } from "@autonomis/contract/skills.ts"
import { startApp, type TestApp } from "../../../test/app.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import { startRegistryDouble } from "../../../test/doubles/clawhub/registry.ts"
import { readSse, type SeenEvent } from "../../../test/sse.ts"
import { makeZip, skillMd } from "../../../test/zip.ts"

const AS_EVENTS = { Accept: "text/event-stream" }

/** Asks for events; they are what the contract says they are. */
async function* staged(
  app: TestApp,
  method: string,
  path: string,
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string>,
) {
  const answer = await fetch(`${app.url}/api/v1/users/ada/skills${path}`, {
    ...{ method, body },
    headers: { "X-API-Key": app.adminKey, ...AS_EVENTS, ...headers },
  })
  for await (const seen of readSse(answer)) {
    const { event } = seen
    assert.ok(event === "stage" || event === "done" || event === "error", event)
    INSTALL_EVENTS[event].parse(seen.data)
    yield seen
  }
}

const install = (app: TestApp, slug: string, body: object = {}, headers: Record<string, string> = {}) =>
  staged(app, "POST", `/${slug}/registry-install`, JSON.stringify(body), {
    "Content-Type": "application/json",
    ...headers,
  })
const upload = (app: TestApp, id: string, body: string | Buffer, type: string) =>
  staged(app, "PUT", `/${id}/file`, typeof body === "string" ? body : new Uint8Array(body), { "Content-Type": type })

const words = (events: readonly SeenEvent[]) => events.map(({ event, data }) => data.stage ?? event)
/** Each once, in order. */
const course = (events: readonly SeenEvent[]) => [...new Set(words(events))]

forEachDatabase((_name, open) => {
  test("an install tells each stage and how much has come while it comes, and ends with the skill", async () => {
    await using db = await open()
    await using registry = await startRegistryDouble()
    await using app = await startApp(db, { env: { AUTONOMIS_CLAWHUB_URL: registry.url } })
    await app.call("POST", "/users", { body: { user: "ada" } })
    // A piece is sent once the one before has been told of: nothing is told late, or only at the end.
    const told = Array.from({ length: 9 }, () => Promise.withResolvers<void>())
    registry.slow((piece) => told[piece]?.promise ?? Promise.resolve())
    const seen: SeenEvent[] = []
    for await (const event of install(app, "hello-world")) {
      seen.push(event)
      if (event.data.stage === "downloading")
        told[words(seen).filter((word) => word === "downloading").length - 1]?.resolve()
    }
    assert.deepEqual(course(seen), ["resolving", "downloading", "checking", "unpacking", "done"])
    const amounts = seen.filter(({ data }) => data.stage === "downloading").map(({ data }) => data)
    assert.equal(amounts.length, 9, "at the beginning and after each piece")
    const total: number = amounts[0].total
    assert.ok(total > 0 && amounts.every((amount) => amount.total === total))
    const counts: number[] = amounts.map(({ bytes }) => bytes)
    assert.deepEqual([counts[0], counts.at(-1)], [0, total])
    assert.deepEqual(
      counts,
      counts.toSorted((a, b) => a - b),
    )
    const { body } = await app.call("GET", "/users/ada/skills")
    assert.deepEqual(Skill.parse(seen.at(-1)?.data), body.skills[0])
  })

  test("what goes wrong on the way is the last event, with status, code and what stands beside them", async () => {
    await using db = await open()
    await using registry = await startRegistryDouble()
    await using app = await startApp(db, { env: { AUTONOMIS_CLAWHUB_URL: registry.url } })
    await app.call("POST", "/users", { body: { user: "ada" } })
    for (const [slug, status, code] of [
      ["none-such", 404, "not_found"],
      ["twin", 409, "ambiguous_skill"],
      ["risky", 409, "needs_accept_risk"],
      ["malware", 403, "malware"],
      ["zip-slip", 400, "invalid_request"],
    ] as const) {
      const plain = await app.call("POST", `/users/ada/skills/${slug}/registry-install`)
      const last = (await Array.fromAsync(install(app, slug))).at(-1)
      assert.deepEqual([last?.event, last?.data.status, last?.data.code], ["error", status, code], slug)
      assert.deepEqual({ ...last?.data, ...plain.body }, last?.data, "all that the plain answer says")
      ErrorBody.parse(last?.data)
    }
    registry.tamper(true)
    const tampered = await Array.fromAsync(install(app, "hello-world"))
    assert.deepEqual(course(tampered), ["resolving", "downloading", "checking", "unpacking", "error"])
    assert.deepEqual((await app.call("GET", "/users/ada/skills")).body.skills, [])
    // Refused before anything was begun: an answer like any other.
    const bad = await fetch(`${app.url}/api/v1/users/ada/skills/Bad_Id/registry-install`, {
      method: "POST",
      headers: { "X-API-Key": app.adminKey, ...AS_EVENTS },
    })
    assert.deepEqual([bad.status, bad.headers.get("content-type")], [400, "application/json; charset=utf-8"])
  })

  test("an upload tells what comes after its bytes, and replaces nothing when it is refused", async () => {
    await using db = await open()
    await using app = await startApp(db)
    await app.call("POST", "/users", { body: { user: "ada" } })
    const zip = makeZip([
      { name: "SKILL.md", data: skillMd("greeter") },
      { name: "a.txt", data: "a" },
    ])
    const first = await Array.fromAsync(upload(app, "greeter", zip, "application/zip"))
    assert.deepEqual(words(first), ["checking", "unpacking", "done"])
    assert.deepEqual(first.at(-1)?.data.files, ["SKILL.md", "a.txt"])
    const second = await Array.fromAsync(upload(app, "greeter", skillMd("other"), "text/markdown"))
    assert.deepEqual([words(second), second.at(-1)?.data.status], [["checking", "error"], 400])
    const { skills } = (await app.call("GET", "/users/ada/skills")).body
    assert.deepEqual(skills[0].files, ["SKILL.md", "a.txt"])
    await assert.rejects(Array.fromAsync(upload(app, "greeter", "{}", "application/json")), /no stream: 415/)
    await assert.rejects(
      Array.fromAsync(upload(app, "greeter", Buffer.alloc(11 * 1024 * 1024), "application/zip")),
      /no stream: 413/,
    )
  })

  test("a repeat with the same Idempotency-Key gets what was told last, and installs nothing again", async () => {
    await using db = await open()
    await using registry = await startRegistryDouble()
    await using app = await startApp(db, { env: { AUTONOMIS_CLAWHUB_URL: registry.url } })
    await app.call("POST", "/users", { body: { user: "ada" } })
    const key = { "Idempotency-Key": "once" }
    const seen = await Array.fromAsync(install(app, "hello-world", {}, key))
    const asked = registry.log.length
    const again = await app.call("POST", "/users/ada/skills/hello-world/registry-install", { body: {}, headers: key })
    assert.deepEqual([again.status, again.headers.get("idempotent-replayed")], [201, "true"])
    assert.deepEqual(again.body, seen.at(-1)?.data)
    const risky = (await Array.fromAsync(install(app, "risky", {}, { "Idempotency-Key": "other" }))).at(-1)
    const refused = await app.call("POST", "/users/ada/skills/risky/registry-install", {
      body: {},
      headers: { "Idempotency-Key": "other" },
    })
    assert.deepEqual([refused.status, refused.body.verdict], [409, risky?.data.verdict])
    assert.ok(registry.log.slice(asked).every(({ url }) => !url.includes("hello-world")))
  })

  test("a caller who goes away in mid-install leaves nothing behind", async () => {
    await using db = await open()
    await using registry = await startRegistryDouble()
    await using app = await startApp(db, { env: { AUTONOMIS_CLAWHUB_URL: registry.url } })
    await app.call("POST", "/users", { body: { user: "ada" } })
    const { promise: never } = Promise.withResolvers<void>()
    registry.slow((piece) => (piece < 3 ? Promise.resolve() : never))
    for await (const { data } of install(app, "hello-world")) if (data.bytes > 0) break
    registry.slow(null)
    assert.equal((await Array.fromAsync(install(app, "hello-world"))).at(-1)?.event, "done")
    assert.deepEqual(
      app.complaints.filter((line) => !line.includes("WITHOUT ANY SANDBOX")),
      [],
    )
  })
})
