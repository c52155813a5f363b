import assert from "node:assert/strict"
import { test } from "node:test"
import type { SessionMessage, ToolImage } from "@autonomis/contract/chat.ts"
import { startApp } from "../../../test/app.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import { readSse, type SeenEvent } from "../../../test/sse.ts"

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

  test("an image that a tool gave back is told of once it can be read, stays with its call, and is its owner's alone", async () => {
    await using db = await open()
    await using app = await startApp(db)
    await app.call("POST", "/users", { body: { user: "ada", tier: "pro" } })
    const bob = (await app.call("POST", "/users", { body: { user: "bob" } })).body.api_key
    const made = await app.call("POST", "/users/ada/agents", { body: { agents: [{ name: "one" }, { name: "two" }] } })
    const [one, two] = made.body.agents.map((agent: { api_key: string }) => agent.api_key)
    const agent = "/users/ada/agents/one"
    for (const [name, bytes] of [
      ["pixel.png", PNG],
      ["page.gif", MASKED],
    ] as const)
      assert.equal((await app.call("PUT", `${agent}/files/${name}`, { body: bytes })).status, 201)
    const image = (found: ToolImage, session = "s", at = agent) =>
      `${at}/sessions/${session}/messages/${found.message_id}/images/${found.hash}`

    const ask = ["pixel.png", "page.gif"].map((path) => `/tool read ${JSON.stringify({ path })}`).join("\n")
    const answer = await fetch(`${app.url}/api/v1${agent}/chat/stream`, {
      method: "POST",
      headers: { "X-API-Key": one, "Content-Type": "application/json" },
      body: JSON.stringify({ session: "s", messages: [{ role: "user", content: ask }] }),
    })
    const events: SeenEvent[] = []
    for await (const event of readSse(answer)) {
      events.push(event)
      if (event.event === "tool.images")
        for (const found of event.data.images)
          assert.equal((await app.call("GET", image(found), { key: one })).status, 200, "at that very moment")
    }
    const told = events.filter(({ event }) => event === "tool.images").map(({ data }) => data)
    assert.deepEqual(
      told.map(({ id, images }) => [id, images.length]),
      events.filter(({ event }) => event === "tool.finished").map(({ data }) => [data.id, 1]),
    )
    const again = await fetch(`${app.url}/api/v1${agent}/runs/${events[0]?.data.run_id}/stream`, {
      headers: { "X-API-Key": one },
    })
    const later = (await Array.fromAsync(readSse(again))).filter(({ event }) => event === "tool.images")
    assert.deepEqual(
      later.map(({ data }) => data),
      told,
      "who reads the run later is told too",
    )

    const { messages } = (await app.call("GET", `${agent}/sessions/s`)).body
    const calls = messages.flatMap((message: SessionMessage) => message.tool_calls)
    assert.deepEqual(
      calls.map((call: SessionMessage["tool_calls"][number]) => call.images),
      told.map(({ images }) => images),
    )
    assert.match(calls[0].result, /^pixel\.png .*\n\[image\/png\]$/)
    for (const [call, bytes, type] of [
      [calls[0], PNG, "image/png"],
      [calls[1], MASKED, "image/gif"],
    ] as const) {
      const read = await fetch(`${app.url}/api/v1${image(call.images[0])}`, { headers: { "X-API-Key": one } })
      assert.deepEqual(Buffer.from(await read.arrayBuffer()), bytes)
      assert.deepEqual(
        ["content-type", "x-content-type-options", "content-security-policy"].map((name) => read.headers.get(name)),
        [type, "nosniff", "default-src 'none'; sandbox"],
      )
    }
    const [[found]] = told.map(({ images }) => images)
    const refused = async (path: string, key: string) => (await app.call("GET", path, { key })).body.error
    assert.equal(await refused(image(found), bob), "user not found")
    assert.equal(await refused(image(found), two), "agent not found")
    assert.equal(await refused(image(found, "s", "/users/ada/agents/two"), two), "session not found")
    // The call's own message does not name it, and neither does another result.
    assert.equal(await refused(image({ ...found, message_id: messages[1].id }), one), "image not found")
    assert.equal(await refused(image({ ...found, message_id: calls[1].images[0].message_id }), one), "image not found")
    // What has none says nothing of images.
    await app.call("POST", `${agent}/chat`, {
      body: { session: "t", messages: [{ role: "user", content: '/tool read {"path":"none"}' }] },
    })
    const plain = (await app.call("GET", `${agent}/sessions/t`)).body.messages[1].tool_calls[0]
    assert.ok(!("images" in plain))

    assert.equal((await app.call("DELETE", `${agent}/sessions/s/messages/${messages[0].id}`)).status, 204)
    assert.equal(await refused(image(found), one), "message not found")
  })
})
