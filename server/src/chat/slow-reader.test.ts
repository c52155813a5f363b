import assert from "node:assert/strict"
import { connect, type Socket } from "node:net"
import { test } from "node:test"
import { startApp, type TestApp } from "../../../test/app.ts"
import { freshSqlite } from "../../../test/databases.ts"
import { startOpenAiDouble } from "../../../test/doubles/openai.ts"
import { until } from "../../../test/until.ts"

const A = "/users/ada/agents/manager"
const says = (content: string, more: object = {}) => ({ messages: [{ role: "user", content }], ...more })

async function withAgent(app: TestApp, model?: string): Promise<void> {
  await app.call("POST", "/users", { body: { user: "ada", tier: "enterprise" } })
  await app.call("POST", "/users/ada/agents", { body: { name: "manager", ...(model ? { model } : {}) } })
}

interface SlowReader {
  socket: Socket
  /** What it read before it stopped reading. */
  seen(): string
  closed(): boolean
}

/** Reads until `stopAt` was seen, then nothing more, its connection open. */
function slowReader(app: TestApp, method: string, path: string, body: unknown, stopAt: RegExp): SlowReader {
  const { port } = new URL(app.url)
  const sent = body === undefined ? "" : JSON.stringify(body)
  const socket = connect(Number(port), "127.0.0.1")
  let seen = ""
  let stopped = false
  let closed = false
  socket.on("data", (chunk) => {
    seen += chunk
    if (!stopped && stopAt.test(seen)) socket.pause()
    stopped ||= socket.isPaused()
  })
  // Who does not read does not see the end; what is written to it is answered by a reset.
  socket.on("error", () => {})
  socket.on("close", () => {
    closed = true
  })
  socket.write(
    `${method} /api/v1${path} HTTP/1.1\r\nHost: x\r\nX-API-Key: ${app.adminKey}\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(sent)}\r\n\r\n${sent}`,
  )
  return { socket, seen: () => seen, closed: () => closed }
}

/** Ids and names of the events that are there whole. */
const eventsIn = (text: string) =>
  [...text.matchAll(/^id: (\d+)\nevent: (\S+)\ndata: .*\n\n/gm)].map((m) => ({ id: Number(m[1]), event: m[2] }))

const COMMANDS = 12
const OUTPUT_BYTES = 1_000_000
const READERS = 6

test("readers who read too slowly are cut with memory bounded; the run goes on, and who comes back misses nothing", async () => {
  await using db = await freshSqlite()
  await using app = await startApp(db)
  const connections = new Set<Socket>()
  app.app.server.server.on("connection", (socket: Socket) => connections.add(socket))
  await withAgent(app)
  const command = JSON.stringify({ command: `head -c ${OUTPUT_BYTES} /dev/zero | tr '\\0' x` })
  const body = says(Array(COMMANDS).fill(`/tool bash ${command}`).join("\n"), { resume_seconds: 60 })
  const own = slowReader(app, "POST", `${A}/chat/stream`, body, /event: run\.started/)
  const readers = [own]
  let waiting = 0
  const watching = setInterval(() => {
    for (const socket of connections) waiting = Math.max(waiting, socket.writableLength)
  }, 5)
  try {
    const runId = await until(() => /"run_id":"(run_\w+)"/.exec(own.seen())?.[1], "the run has started")
    for (let i = 1; i < READERS; i++)
      readers.push(slowReader(app, "GET", `${A}/runs/${runId}/stream`, undefined, /event: run\.started/))
    const run = () => app.call("GET", `${A}/runs/${runId}`)
    await until(async () => (await run()).body.state !== "running", "the run has ended", 60_000)
    assert.equal((await run()).body.state, "succeeded")
    // The server keeps a MiB for each, and the piece that was one too many; a run is 12 times as long.
    assert.ok(waiting > 0 && waiting < 3 * 2 ** 20, `${waiting} bytes waited for a reader`)

    // They see that they were cut once they read again, and have not the end.
    for (const { socket } of readers) socket.resume()
    await until(() => readers.every(({ closed }) => closed()), "the slow readers to be cut")
    const cut = eventsIn(own.seen())
    assert.ok(cut.every(({ event }) => event !== "done"))

    const last = cut.at(-1)?.id ?? 0
    const back = await app.call("GET", `${A}/runs/${runId}/stream`, { headers: { "Last-Event-ID": String(last) } })
    const rest = eventsIn(back.text)
    assert.equal(rest.at(-1)?.event, "done")
    assert.ok(rest.every(({ id }) => id > last))
    const ended = [...cut, ...rest].filter(({ event }) => event === "tool.finished")
    assert.equal(ended.length, COMMANDS)
    assert.equal(new Set(ended.map(({ id }) => id)).size, COMMANDS)
  } finally {
    clearInterval(watching)
    for (const { socket } of readers) socket.destroy()
  }
})

test("a cancel does not wait for the provider: it hangs up about as fast as a small chat is answered", async () => {
  await using provider = await startOpenAiDouble()
  await using db = await freshSqlite()
  const platform = { OPENAI_API_KEY: "key-12345678", OPENAI_BASE_URL: `${provider.url}/v1` }
  await using app = await startApp(db, { env: platform })
  await withAgent(app, "openai/gpt-5.4")
  const chats: number[] = []
  const cancels: number[] = []
  let calls = 0
  for (let round = 0; round < 7; round++) {
    for (const hang of ["headers", "body"] as const) {
      provider.script([{ text: "OK" }, { hang, text: "one two" }])
      const asked = performance.now()
      assert.equal((await app.call("POST", `${A}/chat`, { body: says("hello") })).status, 200)
      chats.push(performance.now() - asked)
      const { run_id } = (await app.call("POST", `${A}/chat`, { body: says("hello", { background: true }) })).body
      calls += 2
      await until(() => provider.requests.length === calls, "the provider is asked")
      const begun = performance.now()
      assert.equal((await app.call("POST", `${A}/runs/${run_id}/cancel`)).status, 202)
      await until(() => provider.requests.at(-1)?.aborted, "the provider's connection is closed")
      cancels.push(performance.now() - begun)
      await until(
        async () => (await app.call("GET", `${A}/runs/${run_id}`)).body.state === "cancelled",
        "the run has ended",
      )
    }
  }
  // The machine is shared: the best of each says what they take by themselves.
  const [chat, cancel] = [Math.min(...chats), Math.min(...cancels)]
  assert.ok(cancel < 5 * chat, `${cancel.toFixed(1)} ms to cancel, ${chat.toFixed(1)} ms to chat`)
})
