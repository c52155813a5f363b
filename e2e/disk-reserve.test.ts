import assert from "node:assert/strict"
import { test } from "node:test"
import { refusedStart, startServer } from "../test/server.ts"
import { until } from "../test/until.ts"
import { skillMd } from "../test/zip.ts"
import { uploadSkill } from "./upload-skill.ts"

const FULL = /disk is nearly full/

test("under the reserve uploads and tool writes are refused in words, chats go on and the database commits", async () => {
  // More than any disk has.
  await using server = await startServer({ env: { AUTONOMIS_DISK_RESERVE: "1000000TiB" } })
  await server.call("POST", "/users", { user: "ada" })
  const agent = "/users/ada/agents/manager"
  await server.call("POST", "/users/ada/agents", { name: "manager" })
  const ask = async (content: string, session: string) =>
    (await server.call("POST", `${agent}/chat`, { session, messages: [{ role: "user", content }] })).body

  const upload = () => server.call("PUT", `${agent}/files/a.txt`, "text")
  await until(async () => (await upload()).status === 409, "uploads are refused, also while no sandbox is open")
  const refused = await upload()
  assert.equal(refused.body.code, "sandbox_unavailable")
  assert.match(refused.body.error, FULL)
  const skill = await uploadSkill(server, { user: "ada", skill: "small" }, skillMd("small"))
  assert.equal(skill.status, 409)
  assert.match(await skill.text(), FULL)

  for (const call of [`write {"path":"b.txt","content":"x"}`, `bash {"command":"echo x > b.txt"}`]) {
    const [tool] = (await ask(`/tool ${call}`, "tools")).tool_calls
    assert.equal(tool.is_error, true)
    assert.match(tool.result, FULL)
  }
  assert.equal((await server.call("GET", `${agent}/files/`)).body.entries?.length ?? 0, 0)

  assert.match((await ask("Who are you?", "talk")).message, /./)
  const { messages } = (await server.call("GET", `${agent}/sessions/talk`)).body
  assert.deepEqual(
    messages.map(({ role }: { role: string }) => role),
    ["user", "assistant"],
  )
  const logged = /"level":"error".*the disk is nearly full/
  await until(() => logged.test(server.output().stderr), "the log says so")
})

test("with a reserve that is there nothing is refused, and one that cannot be read stops the start", async () => {
  await using server = await startServer({ env: { AUTONOMIS_DISK_RESERVE: "0.001%" } })
  await server.call("POST", "/users", { user: "ada" })
  await server.call("POST", "/users/ada/agents", { name: "manager" })
  assert.equal((await server.call("PUT", "/users/ada/agents/manager/files/a.txt", "text")).status, 201)
  const { code, stderr } = await refusedStart({ env: { AUTONOMIS_DISK_RESERVE: "plenty" } })
  assert.equal(code, 1)
  assert.match(stderr, /^autonomis: AUTONOMIS_DISK_RESERVE must be a size or a part of the disk, .*not "plenty"\.\n$/)
})
