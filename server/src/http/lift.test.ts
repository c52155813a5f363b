import assert from "node:assert/strict"
import { createHash, randomBytes } from "node:crypto"
import { test } from "node:test"
import { lift } from "./lift.ts"

const bytes = randomBytes(60_000)
const base64 = bytes.toString("base64")
const sha256 = createHash("sha256").update(bytes).digest("hex")

test("long base64 is lifted with its hash into memory of its own, by the place that faults name", () => {
  const body = {
    messages: [{ content: [{ data: base64 }, { image_url: { url: `data:image/png;base64,${base64}` } }] }],
  }
  const found = new Map(lift(body))
  assert.deepEqual([...found.keys()], ["messages[0].content[0].data", "messages[0].content[1].image_url.url"])
  for (const lifted of found.values()) {
    assert.ok("bytes" in lifted && lifted.bytes.length === lifted.bytes.buffer.byteLength)
    assert.deepEqual([Buffer.compare(lifted.bytes, bytes), lifted.sha256], [0, sha256])
  }
  const [first, second] = body.messages[0]?.content ?? []
  assert.equal(first?.data, base64.slice(0, 64), "what a string begins with stays")
  assert.equal(second?.image_url?.url, `data:image/png;base64,${base64.slice(0, 64)}`)
})

test("text, short strings and other addresses stay; what is no base64 is told as that", () => {
  const kept = { text: base64, data: "AAAA", url: `https://example.org/${base64}`, list: [base64] }
  const body = structuredClone(kept)
  assert.deepEqual(lift(body), [])
  assert.deepEqual(body, kept)
  for (const bad of [`${base64} `, `${base64}\n`, `*${base64}`, `${base64}=A`, `${base64.slice(0, -1)}-`])
    assert.deepEqual(lift({ data: bad }), [["data", { fault: "not base64" }]])
})
