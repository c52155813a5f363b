import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { randomBytes } from "node:crypto"
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

/** A PostgreSQL of the tests' own. The URL reaches it by a unix socket, so that no port can be taken. */
export interface TestPostgres extends AsyncDisposable {
  readonly url: string
}

/** Where a whole test run finds the one server that it shares. */
export const SHARED_POSTGRES = "AUTONOMIS_TEST_DATABASE_URL"

const INSTALLED = "/usr/lib/postgresql"
const START_MS = 60_000

/** The folder of the newest installed server's programs; null when there is none. */
export function postgresBin(): string | null {
  if (!existsSync(INSTALLED)) return null
  const versions = readdirSync(INSTALLED).sort((a, b) => Number(b) - Number(a))
  const found = versions.map((v) => join(INSTALLED, v, "bin")).find((bin) => existsSync(join(bin, "postgres")))
  return found ?? null
}

/** Makes and starts a server in a new temporary folder. It ends with this process, however that ends. */
export async function startPostgres(): Promise<TestPostgres> {
  const bin = postgresBin()
  if (bin === null) throw new Error("PostgreSQL is missing: run `apt-get install -y postgresql`")
  const folder = mkdtempSync(join(tmpdir(), "autonomis-pg-"))
  const owner = process.getuid?.() === 0 ? accountOf("postgres") : null
  if (owner) chownSync(folder, owner.uid, owner.gid)
  const drop = owner ? [`--reuid=${owner.uid}`, `--regid=${owner.gid}`, "--clear-groups"] : []
  const asOwner = (program: string, ...args: string[]) => [...drop, join(bin, program), ...args]
  const data = join(folder, "data")

  const made = spawnSync(
    "setpriv",
    asOwner("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"),
    { cwd: folder, encoding: "utf8" },
  )
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr || made.error}`)

  const settings = "fsync=off synchronous_commit=off full_page_writes=off max_connections=400 autovacuum=off".split(" ")
  const child = spawn(
    "setpriv",
    // The kernel ends it with this process, also when that is killed.
    [
      "--pdeathsig=QUIT",
      ...asOwner("postgres", "-D", data, "-k", folder, "-h", ""),
      ...settings.flatMap((s) => ["-c", s]),
    ],
    { cwd: folder, stdio: ["ignore", "ignore", "pipe"] },
  )
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  await ready(child)
  child.unref()
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  const atExit = () => {
    child.kill("SIGQUIT")
    remove()
  }
  process.once("exit", atExit)
  return {
    url: `postgres://postgres@localhost/postgres?host=${encodeURIComponent(folder)}`,
    async [Symbol.asyncDispose]() {
      child.ref()
      child.kill("SIGQUIT")
      await ended
      process.off("exit", atExit)
      remove()
    },
  }
}

async function ready(child: ChildProcess): Promise<void> {
  let said = ""
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`PostgreSQL did not start: ${said}`)), START_MS)
    child.once("exit", () => reject(new Error(`PostgreSQL ended: ${said}`)))
    child.stderr?.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-4000)
      if (!said.includes("ready to accept connections")) return
      clearTimeout(late)
      resolve()
    })
  })
  // Read on, so that the server never waits for us; without keeping this process alive.
  child.stderr?.resume()
  if (child.stderr && "unref" in child.stderr && typeof child.stderr.unref === "function") child.stderr.unref()
}

function accountOf(name: string): { uid: number; gid: number } {
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((l) => l.startsWith(`${name}:`))
  const [, , uid, gid] = line?.split(":") ?? []
  if (uid === undefined || gid === undefined) throw new Error(`PostgreSQL refuses root and there is no user "${name}"`)
  return { uid: Number(uid), gid: Number(gid) }
}

let own: Promise<TestPostgres> | null = null

/** The run's shared server, or one of this process's own, started by the first who asks. */
export async function postgresUrl(): Promise<string> {
  const shared = process.env[SHARED_POSTGRES]
  if (shared) return shared
  own ??= startPostgres()
  return (await own).url
}

/** Stops the server of this process, if it has one. */
export async function stopOwnPostgres(): Promise<void> {
  const server = await own
  own = null
  await server?.[Symbol.asyncDispose]()
}

/** A name for a schema or a database that no other test has. */
export function freshName(): string {
  return `t_${randomBytes(8).toString("hex")}`
}
