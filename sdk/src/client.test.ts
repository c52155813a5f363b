import assert from "node:assert/strict"
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { test } from "node:test"
import { createClient } from "./client.ts"
import { isApiError } from "./errors.ts"
import { streamChat, streamRun } from "./run-events.ts"

const sleep = async () => undefined

async function serve(handle: RequestListener): Promise<{ baseUrl: string; server: Server } & AsyncDisposable> {
  const server = createServer(handle)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  return {
    baseUrl: `http://127.0.0.1:${port}`,
    server,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = ""
  for await (const chunk of request) text += chunk
  return text
}

test("a call puts names into the path, the rest into the query, and the key into its header", async () => {
  const seen: string[] = []
  await using api = await serve(async (request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers["x-api-key"]} ${await textOf(request)}`)
    response.setHeader("content-type", "application/json").end("{}")
  })
  const client = createClient({ baseUrl: api.baseUrl, apiKey: "k" })
  await client.agents.create({ user: "ada" }, { name: "manager" })
  await client.logs.user({ user: "ada", tail: 5 })
  await client.files.write({ user: "ada", agent: "a", path: "a b/ü#.txt" }, "hello")
  assert.deepEqual(seen, [
    'POST /api/v1/users/ada/agents k {"name":"manager"}',
    "GET /api/v1/users/ada/logs?tail=5 k ",
    "PUT /api/v1/users/ada/agents/a/files/a%20b/%C3%BC%23.txt k hello",
  ])
})

test("an error bears code, message, details and the request's id", async () => {
  await using api = await serve((_, response) => {
    response.writeHead(403, { "x-request-id": "req_1" }).end('{"error":"three agents at most","code":"plan_limit"}')
  })
  const client = createClient({ baseUrl: api.baseUrl })
  const error = await client.users.get({ user: "ada" }).catch((e: unknown) => e)
  assert.ok(isApiError(error, "plan_limit"))
  assert.equal(error.message, "three agents at most")
  assert.equal(error.requestId, "req_1")
})

test("a request that was turned away for its rate is sent again; one that is forbidden is not", async () => {
  let calls = 0
  await using api = await serve((_, response) => {
    calls++
    if (calls === 1) response.writeHead(429, { "retry-after": "1" }).end('{"error":"slow","code":"rate_limited"}')
    else response.writeHead(403).end('{"error":"no"}')
  })
  const client = createClient({ baseUrl: api.baseUrl, sleep })
  const error = await client.users.get({ user: "ada" }).catch((e: unknown) => e)
  assert.ok(isApiError(error, "forbidden"))
  assert.equal(calls, 2)
})

const started = `id: 1\nevent: run.started\ndata: {"run_id":"run_1","agent":"a","session":null}\n\n`
const delta = (id: number, text: string) => `id: ${id}\nevent: message.delta\ndata: {"delta":"${text}"}\n\n`
const done = (id: number) => `id: ${id}\nevent: done\ndata: {"message":"ab"}\n\n`
const agent = { user: "ada", agent: "a" }
const hello = { messages: [{ role: "user" as const, content: "hi" }] }

test("a stream that breaks off goes on where it was, without loss and without a second run", async () => {
  const seen: string[] = []
  await using api = await serve((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers["last-event-id"] ?? "-"}`)
    response.writeHead(200, { "content-type": "text/event-stream" })
    if (request.method === "POST") response.write(started + delta(2, "a"), () => response.destroy())
    else response.end(delta(3, "b") + done(4))
  })
  const states: string[] = []
  const events: string[] = []
  const options = { sleep, onConnection: (state: string) => states.push(state) }
  for await (const event of streamChat(createClient({ baseUrl: api.baseUrl }), agent, hello, options))
    events.push(`${event.id} ${event.event}`)
  assert.deepEqual(events, ["1 run.started", "2 message.delta", "3 message.delta", "4 done"])
  assert.deepEqual(states, ["open", "lost", "open"])
  assert.deepEqual(seen, [
    "POST /api/v1/users/ada/agents/a/chat/stream -",
    "GET /api/v1/users/ada/agents/a/runs/run_1/stream 2",
  ])
})

test("a message whose run was never seen to start is sent again under the same idempotency key", async () => {
  const keys: unknown[] = []
  await using api = await serve((request, response) => {
    keys.push(request.headers["idempotency-key"])
    if (keys.length === 1) return response.destroy()
    response.writeHead(200, { "content-type": "text/event-stream" }).end(started + done(2))
  })
  for await (const _ of streamChat(createClient({ baseUrl: api.baseUrl }), agent, hello, { sleep }));
  assert.equal(keys.length, 2)
  assert.match(String(keys[0]), /^[0-9a-f]{32}$/)
  assert.equal(keys[0], keys[1])
})

test("an error answer ends a stream instead of being tried for ever", async () => {
  await using api = await serve((_, response) => {
    response.writeHead(404).end('{"error":"agent not found"}')
  })
  const stream = streamRun(createClient({ baseUrl: api.baseUrl }), agent, "run_1", { sleep })
  const error = await stream.next().catch((e: unknown) => e)
  assert.ok(isApiError(error, "not_found"))
})
