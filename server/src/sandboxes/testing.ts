import assert from "node:assert/strict"
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
