import assert from "node:assert/strict"
import { test } from "node:test"
import { until } from "../../../test/until.ts"
import { createBodyReader } from "./body-reader.ts"
import { lift } from "./lift.ts"
import { readJson } from "./read-json.ts"

/** Five pictures of 2 MiB in a body, as bytes that may be given away. */
function bodyOf(): ArrayBuffer {
  const data = Buffer.alloc(2 * 1024 * 1024, 7).toString("base64")
  const text = JSON.stringify({ messages: Array.from({ length: 5 }, () => ({ content: [{ type: "image", data }] })) })
  const bytes = new ArrayBuffer(text.length)
  Buffer.from(bytes).write(text, "latin1")
  return bytes
}

function cpuOfThisThread(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

test("a large body takes a small part of the main thread's time that reading it there would take", async () => {
  await using reader = createBodyReader()
  await reader.read(bodyOf(), 0, false)
  let [here, there] = [0, 0]
  for (let round = 0; round < 5; round++) {
    const mine = Buffer.from(bodyOf())
    const start = cpuOfThisThread()
    const read = readJson(mine)
    assert.ok("value" in read)
    assert.equal(lift(read.value).length, 5)
    here += cpuOfThisThread() - start

    const bytes = bodyOf()
    const size = bytes.byteLength
    const begin = cpuOfThisThread()
    const answer = await reader.read(bytes, size, false)
    there += cpuOfThisThread() - begin
    assert.ok("lifted" in answer)
    assert.equal(answer.lifted.length, 5)
  }
  assert.ok(there < here / 4, `${there} ms of the main thread by the reader, ${here} ms without it`)
})

test("the thread ends when there is nothing to read, and is there again for the next body", async () => {
  const threads = () => process.report.getReport() as unknown as { workers: unknown[] }
  await using reader = createBodyReader({ idleMs: 0 })
  const json = Buffer.from('{"a":1}')
  const read = async () => {
    const bytes = new ArrayBuffer(json.length)
    Buffer.from(bytes).set(json)
    return reader.read(bytes, json.length, true)
  }
  const first = await read()
  assert.ok("value" in first && first.sha256 !== null)
  await until(() => threads().workers.length === 0, "the thread has ended", 20_000)
  assert.deepEqual({ ...(await read()), id: 1 }, first)
})

const MORTAL = `import { parentPort } from "node:worker_threads"
parentPort.on("message", ({ id, size }) => {
  if (size === 0) process.exit(1)
  parentPort.postMessage({ id, value: size, lifted: [], sha256: null })
})`

test("what ends the thread fails the bodies that it had, and not the next one", async () => {
  await using reader = createBodyReader({ entry: new URL(`data:text/javascript,${encodeURIComponent(MORTAL)}`) })
  const read = (size: number) => reader.read(new ArrayBuffer(size), size, false)
  const lost = [read(0), read(1)]
  for (const one of lost) await assert.rejects(one, { code: "internal" })
  assert.deepEqual(await read(2), { id: 3, value: 2, lifted: [], sha256: null })
})
