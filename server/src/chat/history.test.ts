import assert from "node:assert/strict"
import { test } from "node:test"
import { forEachDatabase } from "../../../test/databases.ts"
import type { Database } from "../db/database.ts"
import type { TranscriptMessage } from "../runtime/transcript.ts"
import { createAttachments } from "./attachments.ts"
import { closeCalls, loadHistory } from "./history.ts"
import { newMessage, sessionStore } from "./session-store.ts"
import { addAgent, addUser, assistant } from "./test-kit.ts"

const user = (text: string): TranscriptMessage => ({ v: 1, role: "user", content: [{ type: "text", text }] })
const call = (id: string, stop = "tool_use"): TranscriptMessage => ({
  ...assistant(""),
  content: [{ type: "tool_call", id, name: "bash", arguments: {} }],
  stop_reason: stop,
})
const result = (id: string): TranscriptMessage => ({
  v: 1,
  role: "tool",
  tool_call_id: id,
  name: "bash",
  content: [{ type: "text", text: "out" }],
  is_error: false,
  duration_ms: 1,
})
const summary = (covers: number): TranscriptMessage => ({
  v: 1,
  role: "summary",
  text: "so far",
  covers_to_seq: covers,
})

async function session(db: Database, messages: TranscriptMessage[]) {
  const owner = await addUser(db)
  const agent = await addAgent(db, owner.id)
  const store = sessionStore(db)
  const row = { id: `ses_${owner.id}`, userId: owner.id, agentId: agent.id, name: "s", title: "s", now: 1 }
  await db.batch([store.create(row)])
  for (let i = 0; i < messages.length; i += 500) {
    const some = messages.slice(i, i + 500).map((message) => newMessage(message, null))
    await db.batch(store.append({ id: row.id, userId: owner.id }, some, 1))
  }
  const found = await store.byName(agent.id, "s")
  assert.ok(found)
  return found
}

const load = async (db: Database, messages: TranscriptMessage[]) =>
  loadHistory(db, createAttachments(db, "/nowhere", Date.now), await session(db, messages))

forEachDatabase((_name, open) => {
  test("the model is given the last summary and what came after what it covers", async () => {
    await using db = await open()
    const history = await load(db, [
      user("1"),
      assistant("2"),
      user("3"),
      call("c"),
      result("c"),
      summary(2),
      assistant("7"),
      user("8"),
    ])
    assert.deepEqual(
      history.map(({ seq, message }) => `${seq} ${message.role}`),
      ["2 summary", "3 user", "4 assistant", "5 tool", "7 assistant", "8 user"],
    )
  })

  test("a tail that was never summarized is bounded, begins with a user's message and stays put for many messages", async () => {
    await using db = await open()
    const turns = (count: number) =>
      Array.from({ length: count }, (_, i) => (i % 2 ? assistant(`a${i}`) : user(`u${i}`)))
    const starts: number[] = []
    for (const count of [1001, 1003, 1101, 1199]) {
      const history = await load(db, turns(count))
      assert.ok(history.length <= 600, `${history.length}`)
      assert.equal(history[0]?.message.role, "user")
      assert.equal(history.at(-1)?.seq, count)
      starts.push(history[0]?.seq ?? 0)
    }
    assert.equal(new Set(starts).size, 1)
  })

  test("one run with very many tool calls keeps the question that it answers", async () => {
    await using db = await open()
    const calls = Array.from({ length: 700 }, (_, i) => [call(`c${i}`), result(`c${i}`)]).flat()
    const history = await load(db, [user("the question"), ...calls, assistant("done"), user("and now?")])
    assert.deepEqual(history[0], { seq: 1, message: user("the question") })
    assert.notEqual(history[1]?.message.role, "tool")
    assert.ok(history.length <= 601)
  })

  test("large messages are bounded by their bytes", async () => {
    await using db = await open()
    const big = Array.from({ length: 20 }, (_, i) => (i % 2 ? assistant("x".repeat(500_000)) : user(`u${i}`)))
    const history = await load(db, [...big, user("last")])
    assert.ok(history.length < 20 && history.length > 10)
    assert.equal(history[0]?.message.role, "user")
    assert.equal(history.at(-1)?.seq, 21)
  })
})

test("a call that never ended is told as interrupted, right after its message; one that was cut off is not", () => {
  const entries = [user("1"), call("a"), user("3"), call("b", "cancelled"), user("5")].map((message, i) => ({
    seq: i + 1,
    message,
  }))
  const closed = closeCalls(entries)
  assert.deepEqual(
    closed.map(({ message }) => message.role),
    ["user", "assistant", "tool", "user", "assistant", "user"],
  )
  const told = closed[2]?.message
  assert.ok(told?.role === "tool" && told.is_error && told.tool_call_id === "a")
})
