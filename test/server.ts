import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { ENVIRONMENT_TO_DELETE } from "../server/src/runtime/providers.ts"
import { type DatabaseName, freshPostgresUrl } from "./databases.ts"
import { until } from "./until.ts"

export const ROOT = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "")

export interface ServerOptions {
  env?: Record<string, string>
  /** SQLite unless told; PostgreSQL gets a database of its own. */
  database?: DatabaseName
  /** An existing data folder: a restart. It is then not removed. */
  dataDir?: string
  /** An existing database, as `TestServer.databaseUrl` of an earlier start gave it. It is then not removed. */
  databaseUrl?: string
  /** By `npm start`, in a process group of its own. */
  npm?: boolean
  /** Not to compare each answer with the contract: it costs time. */
  trusting?: boolean
  /** A command that runs the server's, e.g. in a namespace of its own. */
  within?: string[]
  /** Another copy of the project. */
  root?: string
}

export interface Answer {
  status: number
  headers: Headers
  /** Parsed when it is JSON, else text. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  body: any
}

/** The real server in a process of its own, on a free port. */
export interface TestServer extends AsyncDisposable {
  readonly url: string
  readonly adminKey: string
  readonly dataDir: string
  readonly databaseUrl: string | null
  /** Of the process that was started: npm's with `npm`. */
  readonly pid: number
  /** Everything said so far. */
  output(): { stdout: string; stderr: string }
  /** A call below `/api/v1` (or a path that begins with `//` for the root), as administrator unless a key is given. */
  call(method: string, path: string, body?: unknown, key?: string | null): Promise<Answer>
  signal(signal: NodeJS.Signals): void
  /** Resolves when the process has ended: its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>
  /** Asks it to stop and waits. */
  stop(): Promise<number | NodeJS.Signals>
  /** Gives it no chance to do anything more. */
  kill9(): Promise<void>
}

const START_MS = 30_000
const STOP_MS = 40_000

/** The tests' own environment without any setting of the server or a provider. */
export function cleanEnvironment(): Record<string, string> {
  const env: Record<string, string> = {}
  for (const [name, value] of Object.entries(process.env)) {
    if (value === undefined || name.startsWith("AUTONOMIS_") || name.startsWith("npm_")) continue
    if (name === "DATABASE_URL" || name === "NODE_OPTIONS" || name.startsWith("NODE_TEST_")) continue
    if (!ENVIRONMENT_TO_DELETE.includes(name)) env[name] = value
  }
  return env
}

/** What `npm start` runs, without npm. */
function startCommand(root: string): string[] {
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
  const [, ...args] = String(scripts.start)
    .replace(/^exec /, "")
    .split(" ")
  return [process.execPath, ...args]
}

/** Starts the server and waits until it says where it is. Rejects with what it said when it ends instead. */
export async function startServer(options: ServerOptions = {}): Promise<TestServer> {
  const root = options.root ?? ROOT
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), "autonomis-e2e-"))
  const database = options.database === "postgres" && !options.databaseUrl ? await freshPostgresUrl() : null
  const databaseUrl = options.databaseUrl ?? database?.url ?? null
  const [program = "", ...args] = options.npm
    ? ["npm", "start", "--silent"]
    : [...(options.within ?? []), ...startCommand(root), ...(options.trusting ? [] : ["--check-answers"])]
  const child = spawn(program, args, {
    cwd: root,
    detached: options.npm === true,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...cleanEnvironment(),
      AUTONOMIS_DATA_DIR: dataDir,
      AUTONOMIS_PORT: "0",
      // Tests ask no registry but their own.
      AUTONOMIS_CLAWHUB_URL: "http://127.0.0.1:9",
      ...(databaseUrl === null ? {} : { DATABASE_URL: databaseUrl }),
      ...options.env,
    },
  })
  const said = collect(child)
  const ended = new Promise<number | NodeJS.Signals>((resolve) =>
    child.once("exit", (code, signal) => resolve(code ?? signal ?? 0)),
  )
  const cleanUp = async () => {
    if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true })
    await database?.[Symbol.asyncDispose]()
  }
  const url = await started(said, ended).catch(async (error: unknown) => {
    child.kill("SIGKILL")
    await cleanUp()
    throw error
  })
  const adminKey = options.env?.AUTONOMIS_ADMIN_KEY ?? readFileSync(join(dataDir, "admin.key"), "utf8").trim()
  const kill9 = async () => {
    child.kill("SIGKILL")
    await ended
  }
  return {
    url,
    adminKey,
    dataDir,
    databaseUrl,
    pid: child.pid ?? 0,
    output: () => ({ ...said }),
    call: (method, path, body, key = adminKey) => call(url, method, path, body, key),
    signal: (signal) => void child.kill(signal),
    ended,
    async stop() {
      child.kill("SIGTERM")
      const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS)
      const how = await ended
      clearTimeout(late)
      return how
    },
    kill9,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) await kill9()
      await cleanUp()
    },
  }
}

/** One request, JSON both ways unless the body is bytes or text. */
export async function call(
  url: string,
  method: string,
  path: string,
  body?: unknown,
  key?: string | null,
): Promise<Answer> {
  const raw = body instanceof Uint8Array || typeof body === "string"
  const answer = await fetch(url + (path.startsWith("//") ? path.slice(1) : `/api/v1${path}`), {
    method,
    headers: {
      ...(key ? { "X-API-Key": key } : {}),
      ...(body === undefined || raw ? {} : { "Content-Type": "application/json" }),
    },
    ...(body === undefined ? {} : { body: raw ? body : JSON.stringify(body) }),
  })
  const text = await answer.text()
  const json = answer.headers.get("content-type")?.startsWith("application/json")
  return { status: answer.status, headers: answer.headers, body: json ? JSON.parse(text) : text }
}

/** Starts a server that must not come up; gives its exit code and what it said. */
export async function refusedStart(
  options: ServerOptions,
): Promise<{ code: number | NodeJS.Signals; stdout: string; stderr: string }> {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), "autonomis-e2e-"))
  const child = spawn(process.execPath, [join(options.root ?? ROOT, "server/src/main.ts")], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...cleanEnvironment(), AUTONOMIS_DATA_DIR: dataDir, AUTONOMIS_PORT: "0", ...options.env },
  })
  const said = collect(child)
  const late = setTimeout(() => child.kill("SIGKILL"), START_MS)
  const code = await new Promise<number | NodeJS.Signals>((resolve) =>
    child.once("close", (code, signal) => resolve(code ?? signal ?? 0)),
  )
  clearTimeout(late)
  if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true })
  return { code, ...said }
}

function collect(child: ChildProcess): { stdout: string; stderr: string } {
  const said = { stdout: "", stderr: "" }
  child.stdout?.on("data", (chunk: Buffer) => {
    said.stdout += chunk.toString()
  })
  child.stderr?.on("data", (chunk: Buffer) => {
    said.stderr += chunk.toString()
  })
  return said
}

async function started(
  said: { stdout: string; stderr: string },
  ended: Promise<number | NodeJS.Signals>,
): Promise<string> {
  let over: number | NodeJS.Signals | null = null
  void ended.then((how) => {
    over = how
  })
  const url = await until(
    () => {
      if (over !== null) throw new Error(`the server ended with ${over}: ${said.stderr}${said.stdout}`)
      return /ready at \S+ \(it listens on (\S+)\)/.exec(said.stdout)?.[1] ?? /ready at (\S+)\n/.exec(said.stdout)?.[1]
    },
    "the server is ready",
    START_MS,
  )
  return url
}
