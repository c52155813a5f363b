import assert from "node:assert/strict"
import { test } from "node:test"
import { contract } from "@autonomis/contract/endpoints.ts"
import { until } from "../../../test/until.ts"
import { endpoint, type Route, SENT } from "./endpoint.ts"
import { openSse, type SseStream } from "./sse.ts"
import { startTestServer } from "./test-server.ts"

const path = "/api/v1/users/ada/agents/manager/runs/run_1/stream"

function streamRoute(use: (stream: SseStream) => void): Route {
  return endpoint(contract.chat.runStream, async (context) => {
    use(openSse(context))
    return SENT
  })
}

test("events arrive whole and in order, never in gzip, with what proxies need", async () => {
  const route = streamRoute((stream) => {
    for (let i = 1; i <= 500; i++) stream.send(i, "message.delta", { delta: `${i}\n\r\u2028 data: x` })
    stream.close()
    stream.send(501, "late", {})
  })
  await using server = await startTestServer([route])
  const { status, headers, text } = await server.call("GET", path, {
    key: "ada",
    headers: { "Accept-Encoding": "gzip" },
  })
  assert.equal(status, 200)
  assert.match(headers.get("content-type") ?? "", /^text\/event-stream/)
  assert.equal(headers.get("x-accel-buffering"), "no")
  assert.equal(headers.get("content-encoding"), null)
  assert.match(headers.get("x-request-id") ?? "", /^req_/)
  const events = text.split("\n\n").slice(0, -1)
  assert.equal(events.length, 500)
  events.forEach((event, i) => {
    const [id, name, data = ""] = event.split("\n")
    assert.deepEqual([id, name], [`id: ${i + 1}`, "event: message.delta"])
    assert.deepEqual(JSON.parse(data.slice(6)), { delta: `${i + 1}\n\r\u2028 data: x` })
  })
})

test("the headers go out before the first event, and a comment every 15 s keeps the stream awake", async (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] })
  let stream: SseStream | undefined
  await using server = await startTestServer([streamRoute((s) => (stream = s))])
  const response = await fetch(`${server.url}${path}`, { headers: { "X-API-Key": "ada" } })
  const reader = response.body?.getReader()
  t.mock.timers.tick(15_000)
  const { value } = (await reader?.read()) ?? {}
  assert.equal(Buffer.from(value ?? []).toString(), ":\n\n")
  stream?.close()
})

test("a reader who stops reading is cut, and memory stays bounded", async () => {
  const streams: SseStream[] = []
  await using server = await startTestServer([streamRoute((s) => streams.push(s))])
  const socket = await server.socket()
  socket.on("error", () => {})
  socket.pause()
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nX-API-Key: ada\r\n\r\n`)
  await until(() => streams.length > 0, "the stream to open")
  const [open] = streams
  assert.ok(open)
  const before = process.memoryUsage().rss
  const delta = "x".repeat(10_000)
  let sent = 0
  await until(
    () => {
      for (let i = 0; i < 20 && !open.closed.aborted; i++) open.send(++sent, "message.delta", { delta })
      return open.closed.aborted
    },
    "the reader to be cut",
    30_000,
  )
  // The kernel holds some megabytes, the server one.
  assert.ok(sent * delta.length < 40 << 20, `${sent} events were taken`)
  for (let i = 0; i < 20_000; i++) open.send(i, "message.delta", { delta })
  assert.ok(process.memoryUsage().rss - before < 150 << 20)
  socket.destroy()
})

test("a replay far larger than what may wait reaches a good reader whole, if its parts are awaited", async () => {
  const delta = "x".repeat(60_000)
  const route = streamRoute((stream) => {
    void (async () => {
      for (let i = 0; i < 400; i++) {
        stream.send(i, "message.delta", { delta })
        await stream.drained()
      }
      stream.close()
    })()
  })
  await using server = await startTestServer([route])
  const { text } = await server.call("GET", path, { key: "ada" })
  assert.equal(text.split("event: ").length - 1, 400)
})

test("a stream ends when its key dies, when its client goes, and for HEAD at once", async () => {
  const streams: SseStream[] = []
  await using server = await startTestServer([streamRoute((s) => streams.push(s))])
  const dying = server.call("GET", path, { key: "ada" })
  await until(() => streams[0], "the first stream")
  streams[0]?.send(1, "message.delta", { delta: "a" })
  server.directory.dead.get("ada")?.abort()
  assert.match((await dying).text, /"delta":"a"/)
  assert.equal(streams[0]?.closed.aborted, true)

  const gone = new AbortController()
  server.directory.addKey("ada2", { kind: "user", userId: "usr_ada" })
  const body = await fetch(`${server.url}${path}`, { headers: { "X-API-Key": "ada2" }, signal: gone.signal })
  await until(() => streams[1], "the second stream")
  gone.abort()
  await until(() => streams[1]?.closed.aborted, "the second to close")
  await body.text().catch(() => {})

  assert.equal((await server.call("HEAD", path, { key: "ada2" })).status, 200)
  assert.equal(streams[2]?.closed.aborted, true)
})
