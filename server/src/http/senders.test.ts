import assert from "node:assert/strict"
import { once } from "node:events"
import { Readable } from "node:stream"
import { after, before, test } from "node:test"
import { contract } from "@autonomis/contract/endpoints.ts"
import type { FastifyReply } from "fastify"
import { until } from "../../../test/until.ts"
import { Answer, endpoint, type Route, SENT } from "./endpoint.ts"
import { createSenders } from "./senders.ts"
import { type BegunRequest, startTestServer, type TestServer } from "./test-server.ts"

const MIB = 1024 * 1024
const A = "/api/v1/users/ada/agents/manager"
const senders = createSenders()
const passSeconds = (seconds: number) => {
  for (let i = 0; i < seconds; i++) senders.look(1000)
}
const accept = async ({ reply }: { reply: FastifyReply }): Promise<typeof SENT> => {
  await reply.code(200).send("")
  return SENT
}
let taken = 0

const routes: Route[] = [
  endpoint(contract.chat.stream, accept),
  endpoint({ ...contract.chat.send, path: "/gateway/{user}/{agent}/v1/chat/completions", versioned: false }, accept),
  endpoint(contract.files.write, async ({ params, body }) => {
    for await (const chunk of body instanceof Readable ? body : []) taken += chunk.length
    return new Answer(201, { path: params.path, size: taken, modified_at: new Date(0).toISOString(), etag: '"a"' })
  }),
]

let server: TestServer
before(async () => {
  server = await startTestServer(routes, { senders, checkAnswers: false })
})
after(() => server[Symbol.asyncDispose]())

const begin = (request: string, sizeBytes: number) => server.begin(request, "ada", sizeBytes)

async function refused(one: BegunRequest, form: RegExp) {
  await until(() => one.answer().startsWith("HTTP/1.1 408 "), "it is told so")
  if (!one.socket.closed) await once(one.socket, "close")
  assert.match(one.answer(), /\r\nconnection: close\r\n/i)
  assert.match(one.answer(), /\r\nx-request-id: req_/i)
  assert.match(one.answer(), form)
}
const FORM = /\r\n\r\n\{"error":"the request came too slowly","code":"request_timeout"\}$/

test("who sends a large body slower than the least rate is told 408, loses the connection and the turn", async () => {
  // Two of these are all that one user may have at once.
  const two = [await begin(`POST ${A}/chat/stream`, 20 * MIB), await begin(`POST ${A}/chat/stream`, 20 * MIB)]
  for (const one of two) await one.send(100_000)
  await server.arrive()
  const next = await begin(`POST ${A}/chat/stream`, 2 * MIB)
  const bytes = Buffer.from('{"messages":[{"role":"user","content":"a"}]}'.padEnd(2 * MIB))
  next.socket.write(bytes)
  await server.arrive()
  passSeconds(10)
  assert.deepEqual(
    [...two, next].map(({ answer }) => answer()),
    ["", "", ""],
  )
  passSeconds(1)
  for (const one of two) await refused(one, FORM)
  await until(() => next.answer().startsWith("HTTP/1.1 200"), "the next has its turn", 20_000)
  next.socket.destroy()
})

test("who keeps to the least rate is not cut, however long it takes", async () => {
  const one = await begin(`POST ${A}/chat/stream`, 20 * MIB)
  for (let second = 0; second < 40; second++) {
    await one.send(200 * 1024)
    await server.arrive()
    passSeconds(1)
  }
  assert.equal(one.answer(), "")
  one.socket.destroy()
})

for (const [what, head, size] of [
  ["a small body", `POST ${A}/chat/stream`, 5000],
  ["a file", `PUT ${A}/files/a.txt`, 5000],
] as const)
  test(`${what} that trickles is cut after half a minute, in the contract's form`, async () => {
    const one = await begin(head, size)
    for (let second = 0; second < 30; second++) {
      await one.send(1)
      await server.arrive()
      passSeconds(1)
    }
    assert.equal(one.answer(), "")
    passSeconds(1)
    await refused(one, FORM)
  })

test("a body that trickles to the gateway is told in OpenAI's form", async () => {
  const one = await begin("POST /gateway/ada/manager/v1/chat/completions", 50)
  await one.send(1)
  await server.arrive()
  passSeconds(31)
  await refused(one, /\{"error":\{"message":"the request came too slowly",.*"code":"request_timeout","param":null\}\}$/)
})

test("what a body's reader has not taken yet is no delay of its sender's", () => {
  const told: unknown[] = []
  let isWaiting = false
  const sender = senders.sender({ graceMs: 1000, bytesPerMs: 1 })
  const arrived = sender.wait(
    (error) => told.push(error.code),
    () => isWaiting,
  )
  passSeconds(60)
  isWaiting = true
  passSeconds(1)
  sender.came(1000)
  passSeconds(1)
  assert.deepEqual(told, [])
  passSeconds(1)
  arrived()
  passSeconds(60)
  assert.deepEqual(told, ["request_timeout"])
})
