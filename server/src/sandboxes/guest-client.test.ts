import assert from "node:assert/strict"
import { type Duplex, duplexPair } from "node:stream"
import { test } from "node:test"
import { encodeFrame, encodeJson } from "@autonomis/guest/frames.ts"
import { Frame, type FrameType, PROTOCOL_VERSION } from "@autonomis/guest/protocol.ts"
import { usedMemory } from "../../../test/memory.ts"
import { HandsError } from "../runtime/hands.ts"
import { connectGuest, type GuestClient } from "./guest-client.ts"
import { anySignal, run, until } from "./testing.ts"

const HELLO = encodeFrame(Frame.HELLO, 0, encodeJson({ protocol: PROTOCOL_VERSION, pid: 2 }))

/** A guest that does what the test says, instead of what it is asked. */
async function lyingGuest(): Promise<{ client: GuestClient; guest: Duplex; stream: Duplex }> {
  const [stream, guest] = duplexPair()
  const { promise: ended, resolve } = Promise.withResolvers<string>()
  stream.once("close", () => resolve("closed"))
  guest.write(HELLO)
  guest.resume()
  return { client: await connectGuest({ stream, ended }), guest, stream }
}

const frame = (type: FrameType, channel: number, payload: Uint8Array | string = "") =>
  encodeFrame(type, channel, Buffer.from(payload))
const result = (value: unknown, channel = 1) => encodeFrame(Frame.RESULT, channel, encodeJson(value))
const EXEC_RESULT = { exitCode: 0, signal: null, timedOut: false, outputBytes: 0, outputFile: false }

const header = (length: number, type: number, channel: number) => {
  const bytes = Buffer.alloc(9)
  bytes.writeUInt32BE(length, 0)
  bytes.writeUInt8(type, 4)
  bytes.writeUInt32BE(channel, 5)
  return bytes
}

const LIES: Record<string, Buffer> = {
  "a frame of 4 GiB": header(0xffffffff, Frame.DATA, 1),
  "a frame just over the limit": header(64 * 1024 + 1, Frame.DATA, 1),
  "an unknown type": header(0, 99, 1),
  "type 0": header(0, 0, 1),
  "a call of its own": frame(Frame.CALL, 1, "{}"),
  "an answer to a call that was never made": result(EXEC_RESULT, 3),
  "an answer on a channel of the other side": result(EXEC_RESULT, 2),
  "an answer on channel 0": result(EXEC_RESULT, 0),
  "data for a call that was never made": frame(Frame.DATA, 77, "x"),
  "a window for a call that was never made": frame(Frame.WINDOW, 77, Buffer.alloc(4)),
  "a result that is no JSON": frame(Frame.RESULT, 1, "{"),
  "a result with the wrong shape": result({ exitCode: "0" }),
  "an exit code out of range": result({ ...EXEC_RESULT, exitCode: 1e9 }),
  "a signal with a newline": result({ ...EXEC_RESULT, signal: "SIG\nX" }),
  "a failure of unknown kind": frame(Frame.FAIL, 1, '{"kind":"root","message":"x"}'),
  "a failure without words": frame(Frame.FAIL, 1, "null"),
  "a failure of 100 KB": frame(Frame.FAIL, 1, JSON.stringify({ kind: "invalid", message: "x".repeat(50_000) })),
  "JSON 30,000 levels deep": frame(Frame.RESULT, 1, "[".repeat(30_000)),
  "a prototype": frame(Frame.RESULT, 1, '{"__proto__":{"exitCode":0}}'),
  "a connection outwards without leave": frame(Frame.OPEN, 2, '{"host":"x","port":1}'),
}

for (const [name, bytes] of Object.entries(LIES)) {
  test(`a guest that sends ${name} is ended, and its call fails in words`, async () => {
    const { client, guest, stream } = await lyingGuest()
    const running = run(client, "true")
    guest.write(bytes)
    await assert.rejects(running, (error) => error instanceof HandsError && error.kind === "unavailable")
    await until("the stream is closed", () => stream.destroyed)
    await client.ended
  })
}

test("an answer that comes a second time, after its call ended, ends the guest", async () => {
  const { client, guest } = await lyingGuest()
  const running = run(client, "true")
  guest.write(result(EXEC_RESULT))
  await running
  guest.write(result(EXEC_RESULT))
  assert.match(await client.ended, /broke the protocol/)
})

test("more data than was granted ends the guest, although nobody is slow", async () => {
  const { client, guest } = await lyingGuest()
  const stop = new AbortController()
  // Aborted: nothing is granted any more.
  const running = run(client, "true", { signal: stop.signal })
  stop.abort()
  await assert.rejects(running)
  for (let i = 0; i < 10; i++) guest.write(frame(Frame.DATA, 1, Buffer.alloc(60_000)))
  assert.match(await client.ended, /more data than was granted/)
})

test("more data than was asked for ends the guest", async () => {
  const { client, guest } = await lyingGuest()
  const reading = client.read("file", 0, 10, anySignal())
  guest.write(frame(Frame.DATA, 1, Buffer.alloc(11)))
  await assert.rejects(
    reading,
    (error) => error instanceof HandsError && /more data than was asked/.test(error.message),
  )
})

test("frames without data, however many, hold no memory", async () => {
  const { client, guest } = await lyingGuest()
  const reading = client.read("file", 0, 10, anySignal())
  const before = usedMemory()
  const empty = Buffer.concat(Array.from({ length: 100_000 }, () => frame(Frame.DATA, 1)))
  guest.write(empty)
  guest.write(frame(Frame.DATA, 1, "x"))
  await new Promise<void>((resolve) => guest.write(empty, () => resolve()))
  const taken = usedMemory() - before
  assert.ok(taken < 8 * 1024 * 1024, `${taken} bytes`)
  guest.write(result({ sizeBytes: 1 }))
  assert.equal(String((await reading).data), "x")
})

test("a guest that never says hello, says another version, or nonsense is not taken", async () => {
  for (const hello of [encodeJson({ protocol: 99, pid: 1 }), encodeJson("hello")]) {
    const [stream, guest] = duplexPair()
    guest.write(encodeFrame(Frame.HELLO, 0, hello))
    await assert.rejects(connectGuest({ stream, ended: new Promise(() => {}) }), HandsError)
    assert.ok(stream.destroyed)
  }
  const [stream] = duplexPair()
  const connecting = connectGuest({ stream, ended: Promise.resolve("killed: memory limit 1.5 GiB") })
  stream.destroy()
  await assert.rejects(connecting, /memory limit/)
})

test("a frame that comes byte by byte is read; frames in one piece too", async () => {
  const { client, guest } = await lyingGuest()
  const running = run(client, "true")
  const bytes = Buffer.concat([
    frame(Frame.DATA, 1, "one "),
    frame(Frame.DATA, 1, "two"),
    frame(Frame.PONG, 0),
    result(EXEC_RESULT),
  ])
  for (const byte of bytes) guest.write(Buffer.from([byte]))
  assert.equal((await running).text, "one two")
})

test("a flood of a guest leaves the thread to others", async () => {
  const { client, guest, stream } = await lyingGuest()
  const flood = frame(Frame.DATA, 1, Buffer.alloc(100))
  // Each piece costs the receiver; nothing here ends the call.
  const chunk = Buffer.concat(Array.from({ length: 200 }, () => flood))
  const window = { sent: 0 }
  const running = client
    .exec(
      {
        command: "x",
        cwd: null,
        timeoutMs: 60_000,
        env: {},
        output: { path: "x", keepBytes: 1, fileBytes: 1, sendBytes: 1 },
      },
      {
        onOutput: () => {
          const end = performance.now() + 0.2
          while (performance.now() < end);
        },
        stdin: null,
      },
      anySignal(),
    )
    .catch(() => null)
  const pump = setInterval(() => {
    if (!stream.destroyed && window.sent < 50_000_000 && !guest.writableNeedDrain) {
      guest.write(chunk)
      window.sent += chunk.length
    }
  }, 0)
  let turns = 0
  const turn = setInterval(() => turns++, 5)
  await until("others had their turns", () => turns >= 50)
  clearInterval(pump)
  clearInterval(turn)
  assert.ok(window.sent > 0)
  client.close()
  await running
})
