import assert from "node:assert/strict"
import { once } from "node:events"
import { request } from "node:http"
import { test } from "node:test"
import Fastify from "fastify"
import { until } from "../../../test/until.ts"
import { createBegun } from "./begun.ts"
import { readJsonBodies } from "./bodies.ts"
import type { Principal } from "./endpoint.ts"

const KIB = 1024
const principal = (keyHash: string): Principal => ({
  kind: "user",
  keyHash,
  userId: keyHash,
  agentId: null,
  suspended: false,
  limits: null,
  impersonatedBy: null,
})

/** A server that lets everyone in, and what it has counted. */
async function serverWith(bytesPerUser: number) {
  const begun = createBegun(bytesPerUser)
  const counted = new Map<string, number>()
  const count = (user: string, bytes: number) => counted.set(user, (counted.get(user) ?? 0) + bytes)
  const app = Fastify()
  app.decorateRequest("admitted", null)
  app.decorateRequest("allowance", null)
  app.addHook("onRequest", async (incoming) => {
    incoming.admitted = { principal: principal(String(incoming.headers["x-user"])), user: null, agent: null }
  })
  readJsonBodies(app, {
    add(user, bytes) {
      begun.add(user, bytes)
      count(user, bytes)
    },
    drop(user, bytes) {
      begun.drop(user, bytes)
      count(user, -bytes)
    },
  })
  app.post("/", async ({ body }) => body)
  const url = await app.listen({ port: 0, host: "127.0.0.1" })
  return { url, counted, [Symbol.asyncDispose]: () => app.close() }
}

/** A client that sends the beginning of a body, and nothing more until it is told to. */
function slowly(url: string, user: string, begin: string, more: Record<string, string> = {}) {
  const sent = request(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-User": user, ...more },
  })
  const answered = once(sent, "response").then(async ([answer]) => {
    answer.resume()
    await once(answer, "end")
    return answer.statusCode
  })
  answered.catch(() => {})
  sent.on("error", () => {})
  sent.write(begin)
  return { sent, answered }
}

const half = `"${"x".repeat(100 * KIB - 2)}`

test("what slow clients of one user hold is bounded, and others are not held up by it", async () => {
  await using server = await serverWith(250 * KIB)
  const { url, counted } = server
  const held = [slowly(url, "ada", half), slowly(url, "ada", half, { "Content-Length": String(200 * KIB) })]
  await until(() => (counted.get("ada") ?? 0) >= 2 * (100 * KIB - 1), "both have begun")
  assert.equal(await slowly(url, "ada", half).answered, 429)
  const post = (user: string) =>
    fetch(url, { method: "POST", headers: { "Content-Type": "application/json", "X-User": user }, body: "{}" })
  assert.equal((await post("ada")).status, 200)
  const other = slowly(url, "bob", half)
  other.sent.end('"')
  assert.equal(await other.answered, 200)

  held[0]?.sent.end('"')
  assert.equal(await held[0]?.answered, 200)
  held[1]?.sent.destroy()
  await until(() => counted.get("ada") === 0, "nothing is held")
  assert.equal(counted.get("bob"), 0)
  const again = slowly(url, "ada", half)
  again.sent.end('"')
  assert.equal(await again.answered, 200)
})
