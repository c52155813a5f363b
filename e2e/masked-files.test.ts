import assert from "node:assert/strict"
import { test } from "node:test"
import { startServer } from "../test/server.ts"

const VALUE = "ghp_0123456789abcdefghij"

test("an edit never writes the mask of a secret into a file, and bash changes the file with the secret intact", async () => {
  await using server = await startServer({ env: { AUTONOMIS_SANDBOX: "none" } })
  await server.call("POST", "/users", { user: "ada" })
  await server.call("POST", "/users/ada/agents", { name: "manager" })
  await server.call("PUT", "/users/ada/secrets", { secrets: { TOKEN: VALUE } })
  const tool = async (name: string, args: object) => {
    const messages = [{ role: "user", content: `/tool ${name} ${JSON.stringify(args)}` }]
    return (await server.call("POST", "/users/ada/agents/manager/chat", { messages })).body.tool_calls[0]
  }
  const file = async () => (await server.call("GET", "/users/ada/agents/manager/files/conf")).body

  await tool("bash", { command: `printf 'token=%s\\nport=1\\n' "$TOKEN" > conf` })
  const before = `token=${VALUE}\nport=1\n`
  assert.equal(await file(), before)
  const read = await tool("read", { path: "conf" })
  assert.match(read.result, /^token=\[secret TOKEN\]\nport=1\n/)
  const edit = await tool("edit", { path: "conf", edits: [{ oldText: "port=1", newText: "port=2" }] })
  assert.equal(edit.is_error, true)
  assert.match(edit.result, /holds values of secrets.*change it with bash/)
  assert.equal(await file(), before)
  await tool("bash", { command: "sed -i s/port=1/port=2/ conf" })
  assert.equal(await file(), `token=${VALUE}\nport=2\n`)
})
