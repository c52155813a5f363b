import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { test } from "node:test"

const PROGRAM = `
  import { patientStderr } from ${JSON.stringify(new URL("./patient-stderr.ts", import.meta.url).href)}
  const write = patientStderr()
  const line = JSON.stringify({ message: "x".repeat(300) }) + "\\n"
  for (let i = 0; i < 2000; i++) write(line.repeat(20))
  process.stdout.write("done")
`

test("lines that nobody reads hold up nothing, and what is read are whole lines", async () => {
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", PROGRAM])
  // Its standard error is a pipe that nobody reads yet.
  let out = ""
  for await (const chunk of child.stdout) {
    out += chunk
    if (out === "done") break
  }
  assert.equal(out, "done")
  let errors = ""
  for await (const chunk of child.stderr) errors += chunk
  const lines = errors.split("\n").filter((line) => line !== "")
  assert.ok(lines.length > 20)
  for (const line of lines) assert.equal(JSON.parse(line).message.length, 300)
})

test("without a pipe the lines go the usual way", async () => {
  const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", PROGRAM], {
    stdio: ["ignore", "pipe", "ignore"],
  })
  let out = ""
  for await (const chunk of child.stdout) out += chunk
  assert.equal(out, "done")
})
