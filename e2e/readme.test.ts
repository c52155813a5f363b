import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { cleanEnvironment, ROOT, startServer } from "../test/server.ts"

const readme = readFileSync(join(ROOT, "README.md"), "utf8")

/** Runs a script by the shell, as somebody who pastes it would, and gives what it printed. */
function shell(script: string, cwd: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("sh", ["-eu"], { cwd, env: cleanEnvironment(), stdio: ["pipe", "pipe", "inherit"] })
    let output = ""
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString()
    })
    child.once("close", (code) => (code === 0 ? resolve(output) : reject(new Error(`exit ${code}: ${output}`))))
    child.stdin.end(script)
  })
}

test("the README's conversation runs as printed, and ends with the file that the agent wrote", async () => {
  const blocks = [...readme.matchAll(/```sh conversation\n([\s\S]*?)```/g)].map((match) => match[1] ?? "")
  assert.equal(blocks.length, 3)
  const folder = mkdtempSync(join(tmpdir(), "autonomis-readme-"))
  try {
    await using server = await startServer({ dataDir: join(folder, "data") })
    const printed = blocks.map((block) => `${block}\necho\necho ----\n`).join("")
    const script = printed.replaceAll("http://127.0.0.1:8800", server.url)
    assert.notEqual(script, printed)
    const [made = "", streamed = "", file = ""] = (await shell(script, folder)).split("\n----\n")
    assert.match(made, /"user":"ada".*"api_key":"atn_user_.*"name":"manager".*"api_key":"atn_agent_/s)
    const events = [...streamed.matchAll(/^event: (.+)$/gm)].map((match) => match[1])
    assert.equal(events[0], "run.started")
    assert.ok(events.includes("tool.finished") && events.includes("message.delta"), events.join())
    assert.equal(events.at(-1), "done")
    assert.equal(file, "Hello from my own sandbox")
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test("every setting that the server knows is in the README", () => {
  const source = readFileSync(join(ROOT, "server/src/config.ts"), "utf8")
  const names = new Set([...source.matchAll(/"(AUTONOMIS_[A-Z_]+|DATABASE_URL)"/g)].map((match) => match[1] ?? ""))
  names.delete("AUTONOMIS_DISK_RESERVE")
  assert.ok(names.size > 15)
  for (const name of names) {
    if (name !== "AUTONOMIS_") assert.ok(readme.includes(`\`${name}\``), `${name} is not in the README`)
  }
})
