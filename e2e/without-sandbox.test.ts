import assert from "node:assert/strict"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { startServer, type TestServer } from "../test/server.ts"
import { until } from "../test/until.ts"
import { startBrowser } from "./browser.ts"
import { account, signIn } from "./dashboard-pages.ts"

/** Runs the rest of the command where bubblewrap cannot be seen, in a mount namespace of its own. */
const WITHOUT_BUBBLEWRAP = [
  "unshare",
  ...(process.getuid?.() === 0 ? ["-m"] : ["-Urm"]),
  "sh",
  "-euc",
  'mount --bind /dev/null "$(command -v bwrap)"; PATH="$HIDDEN_PATH"; exec "$@"',
  "sh",
]

const ask = (server: TestServer, key: string, content: string) =>
  server.call("POST", "/users/ada/agents/manager/chat", { messages: [{ role: "user", content }] }, key)

test("without bubblewrap one line says how to get it, chats work, and a tool call answers with that sentence", async () => {
  const empty = mkdtempSync(join(tmpdir(), "autonomis-path-"))
  try {
    await using server = await startServer({ within: WITHOUT_BUBBLEWRAP, env: { HIDDEN_PATH: empty } })
    const line = /^bubblewrap, the sandbox of the agents' tools, is not installed.*$/m
    await until(() => line.test(server.output().stdout), "the line is said")
    const key = await account(server, "ada")
    const chat = await ask(server, key, "Who are you?")
    assert.equal(chat.status, 200, JSON.stringify(chat.body))
    const tool = await ask(server, key, '/tool bash {"command":"echo ran > /tmp/ran; echo ran"}')
    assert.equal(tool.status, 200, JSON.stringify(tool.body))
    const [call] = tool.body.tool_calls
    assert.equal(call.is_error, true)
    assert.match(call.result, /bubblewrap is not installed; install it with/)
    assert.doesNotMatch(call.result, /^ran/m)
    await using browser = await startBrowser(server.url)
    const { page } = await browser.open()
    await signIn(page, server.adminKey, "/admin/health")
    await page.getByText("agents cannot run commands").waitFor()
  } finally {
    rmSync(empty, { recursive: true })
  }
})

test("driver none runs commands, and says loudly that nothing holds them", async () => {
  await using server = await startServer({ env: { AUTONOMIS_SANDBOX: "none" } })
  const key = await account(server, "ada")
  const tool = await ask(server, key, '/tool bash {"command":"echo ran"}')
  assert.match(tool.body.tool_calls[0].result, /^ran/)
  const warning = /"level":"warn".*WITHOUT ANY SANDBOX/
  await until(() => warning.test(server.output().stderr), "the log says so")
  await using browser = await startBrowser(server.url)
  const { page } = await browser.open()
  await signIn(page, server.adminKey, "/admin/health")
  await page.getByText("Commands run without a sandbox").waitFor()
  assert.equal(await page.getByText("cannot run commands").count(), 0)
})
