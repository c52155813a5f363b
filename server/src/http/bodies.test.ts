import assert from "node:assert/strict"
import { test } from "node:test"
import Fastify from "fastify"
import { readJsonBodies } from "./bodies.ts"

test("a JSON body may begin with a byte order mark, and names no prototype however it is spelt", async () => {
  await using app = Fastify()
  readJsonBodies(app)
  app.post("/", async (request) => ({ got: request.body }))
  const post = (payload: string) =>
    app.inject({ method: "POST", url: "/", headers: { "content-type": "application/json" }, payload })
  for (const body of ['{"a":"é"}', '\ufeff{"a":"é"}']) assert.deepEqual((await post(body)).json(), { got: { a: "é" } })
  for (const body of [
    '{"__proto__":{"a":1}}',
    '{"\\u005f_proto__":{"a":1}}',
    '{"constructor":{"prototype":{}}}',
    "{",
    "",
  ])
    assert.notEqual((await post(body)).statusCode, 200, body)
})
