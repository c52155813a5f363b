import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { replaceFile } from "../server/src/lib/durable-file.ts"

// npm run dev: the server on a folder of its own, with two users, three agents and the demo model; it restarts when a
// file changes, and compares each answer with the contract.
const root = fileURLToPath(new URL("..", import.meta.url))
const dataDir = process.env.AUTONOMIS_DATA_DIR ?? join(root, "data-dev")
const seedFile = join(dataDir, "seed.json")

const PEOPLE = [
  { user: "ada", display_name: "Ada Lovelace", tier: "pro", agents: ["manager", "researcher"] },
  { user: "grace", display_name: "Grace Hopper", tier: "free", agents: ["manager"] },
]

const server = spawn(
  process.execPath,
  ["--watch", "--watch-preserve-output", join(root, "server/src/main.ts"), "--check-answers"],
  { cwd: root, env: { ...process.env, AUTONOMIS_DATA_DIR: dataDir }, stdio: ["inherit", "pipe", "inherit"] },
)
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => stop(server))
server.once("exit", (code) => process.exit(code ?? 0))

let told = false
for await (const line of createInterface(server.stdout)) {
  console.log(line)
  const url = /ready at (\S+)/.exec(line)?.[1]
  if (url === undefined || told) continue
  told = true
  const adminKey = process.env.AUTONOMIS_ADMIN_KEY || readFileSync(join(dataDir, "admin.key"), "utf8").trim()
  const keys = await seeded(url, adminKey)
  console.log(`admin   ${adminKey}`)
  for (const [user, key] of Object.entries(keys)) console.log(`${user.padEnd(7)} ${key}`)
  console.log(`dashboard ${url}/   reference ${url}/docs`)
}

/** The users' keys: made at the first start, and kept beside the data, which is for development only. */
async function seeded(url: string, adminKey: string): Promise<Record<string, string>> {
  if (existsSync(seedFile)) return JSON.parse(readFileSync(seedFile, "utf8"))
  const keys: Record<string, string> = {}
  for (const { agents, ...person } of PEOPLE) {
    const { api_key } = await post(`${url}/api/v1/users`, adminKey, person)
    keys[person.user] = api_key
    await post(`${url}/api/v1/users/${person.user}/agents`, api_key, { agents: agents.map((name) => ({ name })) })
  }
  replaceFile(seedFile, JSON.stringify(keys, null, 2))
  return keys
}

async function post(url: string, key: string, body: unknown): Promise<{ api_key: string }> {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "X-API-Key": key, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  })
  if (!answer.ok) throw new Error(`the platform could not be seeded: ${answer.status} ${await answer.text()}`)
  return (await answer.json()) as { api_key: string }
}

/** The watcher passes the signal on to the server, which stops in order. */
function stop(child: ChildProcess): void {
  child.kill("SIGTERM")
}
