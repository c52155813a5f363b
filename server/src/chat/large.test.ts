import assert from "node:assert/strict"
import { createHash, randomBytes } from "node:crypto"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { test } from "node:test"
import { startApp } from "../../../test/app.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import { startOpenAiDouble } from "../../../test/doubles/openai.ts"

const MIB = 1024 * 1024
const A = "/users/ada/agents/manager"
const HEAD = Buffer.from("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "latin1")
const png = (bytes: number) => Buffer.concat([HEAD, randomBytes(bytes)])
const picture = (data: string) => ({ type: "image", mime_type: "image/png", data })
const says = (...content: unknown[]) => ({ messages: [{ role: "user", content }] })

forEachDatabase((_name, open) => {
  test("pictures of a large message reach the model, are kept, and reach it again with the next", async () => {
    await using db = await open()
    await using double = await startOpenAiDouble()
    await using app = await startApp(db, {
      env: {
        OPENAI_API_KEY: "key-12345678",
        OPENAI_BASE_URL: `${double.url}/v1`,
        AUTONOMIS_DEFAULT_MODEL: "openai/gpt-4o",
      },
    })
    const { body: user } = await app.call("POST", "/users", { body: { user: "ada", tier: "enterprise" } })
    const { body: made } = await app.call("POST", "/users/ada/agents", { body: { name: "manager" } })
    const [one, two] = [png(MIB), png(2 * MIB)]
    const text = (data: Buffer) => data.toString("base64")
    const sent = (data: Buffer) => JSON.stringify(double.requests.at(-1)?.body).includes(text(data))

    const first = { ...says(picture(text(one)), { type: "text", text: "?" }, picture(text(two))), session: "s" }
    const headers = { "Idempotency-Key": "once" }
    const answer = await app.call("POST", `${A}/chat`, { body: first, headers })
    assert.equal(answer.status, 200, answer.text)
    assert.deepEqual([sent(one), sent(two)], [true, true])
    const again = await app.call("POST", `${A}/chat`, { body: first, headers })
    assert.deepEqual([again.headers.get("idempotent-replayed"), again.body.run_id], ["true", answer.body.run_id])
    const other = { ...says(picture(text(two)), { type: "text", text: "?" }, picture(text(one))), session: "s" }
    assert.equal((await app.call("POST", `${A}/chat`, { body: other, headers })).status, 409)

    const { body: session } = await app.call("GET", `${A}/sessions/s`)
    const [message] = session.messages
    const hashes = [one, two].map((data) => createHash("sha256").update(data).digest("hex"))
    assert.deepEqual([message.content[0].hash, message.content[2].hash], hashes)
    const [folder = ""] = await readdir(join(app.dataDir, "users"))
    assert.deepEqual((await readdir(join(app.dataDir, "users", folder, "attachments"))).sort(), hashes.toSorted())
    await app.call("POST", `${A}/chat`, { body: { messages: [{ role: "user", content: "and?" }], session: "s" } })
    assert.deepEqual([sent(one), sent(two)], [true, true])

    const url = `data:image/png;base64,${text(one)}`
    const asked = {
      model: "manager",
      messages: [{ role: "user", content: [{ type: "image_url", image_url: { url } }] }],
    }
    const gateway = await app.call("POST", "//gateway/ada/manager/v1/chat/completions", {
      body: asked,
      key: made.agents[0].api_key,
    })
    assert.equal(gateway.status, 200, gateway.text)
    assert.equal(sent(one), true)

    const bad: [string, string][] = [
      [`${text(one)}*`, "messages[0].content[0].data: must be base64"],
      [`${text(one)} `, "messages[0].content[0].data: must be base64"],
      [text(png(5 * MIB)), "messages[0].content[0].data: 5 MiB at most once decoded"],
      [text(randomBytes(2 * MIB)), "messages[0].content[0].data: is not a image/png image"],
    ]
    for (const [data, told] of bad) {
      const refused = await app.call("POST", `${A}/chat`, { body: says(picture(data)), key: user.api_key })
      assert.deepEqual([refused.status, refused.body.error], [400, `the body is not valid: ${told}`])
    }
  })
})
