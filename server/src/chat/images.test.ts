import assert from "node:assert/strict"
import { test } from "node:test"
import { startApp } from "../../../test/app.ts"
import { forEachDatabase } from "../../../test/databases.ts"

const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
)
/** A picture by its first bytes, a page for a browser that guesses. */
const MASKED = Buffer.concat([Buffer.from("GIF89a"), Buffer.from("<script>alert(1)</script>")])

forEachDatabase((_name, open) => {
  test("an image of a stored message is read by its owner alone, byte for byte, and runs nothing", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const make = async (user: string) => {
      const made = await app.call("POST", "/users", { body: { user, tier: "pro" } })
      const { body } = await app.call("POST", `/users/${user}/agents`, {
        body: { agents: [{ name: "one" }, { name: "two" }] },
      })
      const [one, two] = body.agents.map((agent: { api_key: string }) => agent.api_key)
      return { user: made.body.api_key, one, two }
    }
    const [ada, bob] = [await make("ada"), await make("bob")]
    const send = async (agent: string, session: string, content: unknown) => {
      const body = { session, messages: [{ role: "user", content }] }
      assert.equal((await app.call("POST", `/users/${agent}/chat`, { body })).status, 200)
      return (await app.call("GET", `/users/${agent}/sessions/${session}`)).body.messages
    }
    const picture = (data: Buffer, mime_type: string) => ({ type: "image", mime_type, data: data.toString("base64") })
    const content = [picture(PNG, "image/png"), { type: "text", text: "?" }, picture(MASKED, "image/gif")]
    const [message] = await send("ada/agents/one", "s", content)
    const [plain] = (await send("ada/agents/one", "s", "no picture")).slice(2)
    const [theirs] = await send("bob/agents/one", "s", "none")
    const [first, , second] = message.content
    const at = (id: string, hash: string, agent = "ada/agents/one", session = "s") =>
      `/users/${agent}/sessions/${session}/messages/${id}/images/${hash}`

    for (const [{ hash }, bytes, type] of [
      [first, PNG, "image/png"],
      [second, MASKED, "image/gif"],
    ] as const) {
      const answer = await fetch(`${app.url}/api/v1${at(message.id, hash)}`, { headers: { "X-API-Key": ada.one } })
      assert.equal(answer.status, 200)
      assert.deepEqual(Buffer.from(await answer.arrayBuffer()), bytes)
      const header = (name: string) => answer.headers.get(name)
      assert.equal(header("content-type"), type)
      assert.equal(header("x-content-type-options"), "nosniff")
      assert.equal(header("content-security-policy"), "default-src 'none'; sandbox")
      assert.equal(header("cache-control"), "private, no-cache")
      const again = await app.call("GET", at(message.id, hash), { headers: { "If-None-Match": header("etag") ?? "" } })
      assert.deepEqual([again.status, again.text], [304, ""])
    }

    const read = async (path: string, key: string | null = app.adminKey) => {
      const { status, body } = await app.call("GET", path, { key })
      return [status, body?.error]
    }
    assert.equal((await read(at(message.id, first.hash), ada.user))[0], 200)
    assert.deepEqual(await read(at(message.id, first.hash), null), [401, "missing or invalid API key"])
    assert.deepEqual(await read(at(message.id, first.hash), bob.user), [404, "user not found"])
    assert.deepEqual(await read(at(message.id, first.hash), ada.two), [404, "agent not found"])
    // Neither another session, nor another message, nor another account leads to it.
    assert.deepEqual(await read(at(message.id, first.hash, "ada/agents/two"), ada.two), [404, "session not found"])
    assert.deepEqual(await read(at(theirs.id, first.hash, "bob/agents/one"), bob.user), [404, "image not found"])
    assert.deepEqual(await read(at(message.id, first.hash, "bob/agents/one"), bob.user), [404, "message not found"])
    assert.deepEqual(await read(at(plain.id, first.hash)), [404, "image not found"])
    assert.deepEqual(await read(at(message.id, "0".repeat(64))), [404, "image not found"])
    assert.equal((await read(at(message.id, "..%2f..%2fadmin.key")))[0], 400)

    await app.call("DELETE", `/users/ada/agents/one/sessions/s/messages/${message.id}`)
    assert.deepEqual(await read(at(message.id, first.hash)), [404, "message not found"])
  })
})
