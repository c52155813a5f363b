import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

// npm run check: types, lint and format, import rules, dead code. All are run; the exit code is 0 when all hold.
const root = fileURLToPath(new URL("..", import.meta.url))
const PARTS = "contract guest server sdk cli dashboard e2e bench test scripts".split(" ")
const parts = PARTS.filter((part) => existsSync(join(root, part)))

const CHECKS: [name: string, command: string, ...args: string[]][] = [
  ["types", "tsc", "-p", "."],
  ...(existsSync(join(root, "dashboard/tsconfig.json"))
    ? [["types of the dashboard", "tsc", "-p", "dashboard", "--noEmit"] as [string, string, ...string[]]]
    : []),
  ["lint and format", "biome", "ci", "--error-on-warnings", "."],
  ["import rules", "depcruise", "--config", ".dependency-cruiser.mjs", "--output-type", "err-long", ...parts],
  ["dead code and dependencies", "knip", "--no-progress"],
]

interface Result {
  name: string
  ok: boolean
  output: string
}

async function check([name, command, ...args]: (typeof CHECKS)[number]): Promise<Result> {
  const child = spawn(join(root, "node_modules/.bin", command), args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] })
  let output = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString()
    })
  }
  const code = await new Promise((resolve) => {
    child.once("close", resolve)
    child.once("error", (error) => {
      output += error.message
      resolve(1)
    })
  })
  return { name, ok: code === 0, output: output.trim() }
}

const results = await Promise.all(CHECKS.map(check))
for (const { name, ok, output } of results) {
  console.log(`${ok ? "✔" : "✖"} ${name}`)
  if (!ok) console.log(`${output}\n`)
}
if (!results.every((result) => result.ok)) process.exitCode = 1
