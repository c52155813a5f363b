import assert from "node:assert/strict"
import { once } from "node:events"
import { after, before, test } from "node:test"
import { contract } from "@autonomis/contract/endpoints.ts"
import { until } from "../../../test/until.ts"
import { endpoint, type Route, SENT } from "./endpoint.ts"
import { FREE, startTestServer, type TestServer } from "./test-server.ts"

const MIB = 1024 * 1024
const path = (user = "ada") => `/api/v1/users/${user}/agents/manager/chat/stream`
/** Requests that are under way in the handler. */
const inside: (() => void)[] = []
let hold = false

const routes: Route[] = [
  endpoint(contract.chat.stream, async ({ body, request, reply }) => {
    if (hold) await new Promise<void>((resolve) => inside.push(resolve))
    const lifted = [...(request.large?.lifted ?? [])].map(([place, one]) => [place, "bytes" in one && one.bytes.length])
    await reply.code(200).type("application/json").send({ messages: body.messages, lifted })
    return SENT
  }),
]

let server: TestServer
before(async () => {
  server = await startTestServer(routes)
})
after(() => server[Symbol.asyncDispose]())

const says = (content: unknown) => ({ messages: [{ role: "user", content }] })
const post = (body: string | Uint8Array | AsyncIterable<Uint8Array>, key = "admin", user = "ada") =>
  fetch(`${server.url}${path(user)}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-API-Key": key },
    body: body instanceof Uint8Array || typeof body === "string" ? body : ReadableStream.from(body),
    duplex: "half",
  })
const errorOf = async (answer: Response) => String(Object(await answer.json()).error)
/** In pieces and without its length. */
async function* pieces(text: string) {
  const bytes = Buffer.from(text)
  for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000)
}
/** Makes a body large without changing what it means. */
const padded = (json: string) => json + " ".repeat(2 * MIB)

for (const [size, pad] of [
  ["small", (json: string) => json],
  ["large", padded],
] as const) {
  test(`a ${size} body is read and refused the same, with its length and without`, async () => {
    const good: [string, unknown][] = [
      [JSON.stringify(says("é €")), says("é €").messages],
      [`\ufeff${JSON.stringify(says("a"))}`, says("a").messages],
      [
        '{"messages":[{"role":"user","content":"\\u005f_proto__ constructor"}]}',
        says("__proto__ constructor").messages,
      ],
    ]
    for (const [json, messages] of good) {
      for (const body of [pad(json), pieces(pad(json))]) {
        const answer = await post(body)
        assert.equal(answer.status, 200, json)
        assert.deepEqual(await answer.json(), { messages, lifted: [] })
      }
    }
    const notJson = "the body is not valid JSON"
    const bad: [string | Uint8Array, number, string][] = [
      ["{", 400, notJson],
      ['{"__proto__":{"a":1}}', 400, notJson],
      ['{"messages":[{"\\u005f_proto__":{"a":1}}]}', 400, notJson],
      ['{"constructor":{"prototype":{}}}', 400, notJson],
      [`{"a":${"[".repeat(70)}${"]".repeat(70)}}`, 400, notJson],
      ['{"messages":[]}', 400, "the body is not valid: messages: Too small"],
      ["[]", 400, "the body is not valid"],
      [`{"a":[${"0,".repeat(100_001)}0]}`, 413, "the body has too many values"],
    ]
    for (const [json, status, error] of bad) {
      const text = pad(String(json))
      for (const body of [text, pieces(text)]) {
        const answer = await post(body)
        const told = await errorOf(answer)
        assert.equal(answer.status, status, told)
        assert.ok(told.startsWith(error), told)
      }
    }
    const cut = Buffer.concat([Buffer.from([0x7b, 0xff]), Buffer.from(pad("}"))])
    assert.equal((await post(cut)).status, 400, "not UTF-8")
  })
}

test("a body over 20 MiB is refused, whether or not it says so first", async () => {
  const text = JSON.stringify(says("a".repeat(20 * MIB)))
  for (const body of [text, pieces(text)]) {
    const answer = await post(body)
    assert.deepEqual([answer.status, await errorOf(answer)], [413, "the body is too large"])
  }
})

test("pictures of a large body are taken out of it", async () => {
  const data = Buffer.alloc(MIB, 1).toString("base64")
  const answer = await post(JSON.stringify(says([{ type: "image", mime_type: "image/png", data }])))
  assert.equal(answer.status, 200)
  assert.deepEqual(Object(await answer.json()).lifted, [["messages[0].content[0].data", MIB]])
})

const begin = (user: string, sizeBytes: number) => server.begin(`POST ${path(user)}`, user, sizeBytes)

test("a user's large bodies are received by turns: what waits takes no memory, and nobody else waits", async () => {
  const whole = Buffer.alloc(20 * MIB, 0x20)
  whole.write(JSON.stringify(says("a")), "latin1")
  const first = await begin("ada", whole.length)
  const second = await begin("ada", whole.length)
  for (const one of [first, second]) await one.send(1)
  await server.arrive()
  const third = await begin("ada", whole.length)
  let sent = false
  third.socket.write(whole, () => {
    sent = true
  })
  const other = await begin("bob", whole.length)
  other.socket.write(whole)
  await until(() => other.answer().startsWith("HTTP/1.1 200"), "bob is answered", 20_000)
  assert.deepEqual([sent, third.answer()], [false, ""])
  first.socket.destroy()
  await until(() => third.answer().startsWith("HTTP/1.1 200"), "the third has its turn", 20_000)
  for (const { socket } of [second, third, other]) socket.destroy()
})

test("a turn ends with the answer, and not before", async () => {
  hold = true
  const body = JSON.stringify(says("a")).padEnd(20 * MIB)
  const two = [post(body, "ada"), post(body, "ada")]
  await until(() => inside.length === 2, "two are inside", 20_000)
  const third = post(body, "ada")
  const small = post(JSON.stringify(says("a")), "ada")
  await until(() => inside.length === 3, "a small one need not wait")
  hold = false
  for (const go of inside.splice(0)) go()
  for (const answer of await Promise.all([...two, third, small])) assert.equal(answer.status, 200)
})

test("who is over the rate is told before a large body is received", async () => {
  const limits = { ...FREE, requests_per_minute: 1 }
  server.directory.addKey("bob", { kind: "user", userId: "usr_bob", limits })
  const small = await fetch(`${server.url}${path("bob")}`, { method: "POST", headers: { "X-API-Key": "bob" } })
  await small.text()
  const { socket, answer } = await begin("bob", 13 * MIB)
  await until(() => answer().startsWith("HTTP/1.1 429"), "refused")
  socket.destroy()
  await once(socket, "close")
  // Also who first sends all of it is told.
  const whole = await post(JSON.stringify(says("a")).padEnd(13 * MIB), "bob", "bob")
  assert.equal(whole.status, 429)
})
