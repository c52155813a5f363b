import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import type { SandboxSpec } from "./driver.ts"
import type { GuestClient } from "./guest-client.ts"
import { removeFolder } from "./tree.ts"

/** For tests of sandboxes only. */
export const anySignal = () => AbortSignal.timeout(60_000)

let agents = 0

export function specOf(changes: Partial<SandboxSpec> = {}): SandboxSpec {
  const n = ++agents
  return {
    id: `agt_test${n}`,
    userId: "usr_test1",
    hostUid: 910_000 + n,
    limits: { memoryBytes: 512 * 1024 * 1024, cpus: 1, pids: 128, storageBytes: null },
    network: "none",
    readOnlyMounts: [],
    ...changes,
  }
}

export async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), "autonomis-sandbox-"))
  return { path, [Symbol.asyncDispose]: () => removeFolder(path, anySignal()) }
}

export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  withinMs = 20_000,
): Promise<void> {
  const end = performance.now() + withinMs
  while (!(await condition())) {
    if (performance.now() > end) assert.fail(`not in time: ${what}`)
    await delay(10)
  }
}

const output = {
  path: ".autonomis/output/test.log",
  keepBytes: 1024,
  fileBytes: 16 * 1024 * 1024,
  sendBytes: 64 * 1024 * 1024,
}

export async function run(
  client: GuestClient,
  command: string,
  options: { stdin?: Buffer; timeoutMs?: number; signal?: AbortSignal } = {},
) {
  const chunks: Buffer[] = []
  const answer = await client.exec(
    { command, cwd: null, timeoutMs: options.timeoutMs ?? 30_000, env: {}, output },
    { onOutput: (chunk) => chunks.push(Buffer.from(chunk)), stdin: options.stdin ?? null },
    options.signal ?? anySignal(),
  )
  const bytes = Buffer.concat(chunks)
  return { ...answer, bytes, text: bytes.toString() }
}

/**
 * A server in a process of its own, killed with -9 while a sandbox of each spec is open and has run `each` (source that
 * has `client` and `run`).
 */
export async function crashedServer(
  kind: "bubblewrap" | "docker",
  options: { dataDir: string; socket?: string },
  specs: readonly SandboxSpec[],
  each: string,
): Promise<void> {
  const factory = { bubblewrap: "createBubblewrapDriver", docker: "createDockerDriver" }[kind]
  const script = `
    import { ${factory} } from ${JSON.stringify(import.meta.resolve(`./drivers/${kind}/${kind}.ts`))}
    import { connectGuest } from ${JSON.stringify(import.meta.resolve("./guest-client.ts"))}
    import { run } from ${JSON.stringify(import.meta.url)}
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const driver = ${factory}({ ...${JSON.stringify(options)}, log })
    for (const spec of ${JSON.stringify(specs)}) {
      const client = await connectGuest(await driver.open(spec, AbortSignal.timeout(60000)))
      ${each}
    }
    console.log("ready")
    setInterval(() => {}, 1000)`
  const server = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  await once(server.stdout, "data")
  server.kill("SIGKILL")
  await once(server, "close")
}
