import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { silentLogger } from "../../server/src/lib/log.ts"
import { createRedactor } from "../../server/src/lib/redact.ts"
import type { SandboxSpec } from "../../server/src/sandboxes/driver.ts"
import { createSandboxes, type SandboxesOptions } from "../../server/src/sandboxes/sandboxes.ts"
import { dockerObstacle, testDocker } from "../../test/docker.ts"
import { median, type Row } from "./rows.ts"

const NO_SECRETS = { env: {}, redactor: createRedactor([]) }

const ROUNDS = 20
const UNMOUNTED_MS = 100

export async function benchSandbox(): Promise<Row[]> {
  return [...(await benchDriver({ kind: "bubblewrap" }, 120)), ...(await benchDocker())]
}

/** Needs a daemon of our own, with nothing else on it; where there can be none the line says so. */
async function benchDocker(): Promise<Row[]> {
  const obstacle = dockerObstacle()
  if (obstacle !== null)
    return [{ name: `docker: not measured, since ${obstacle}`, median: Number.NaN, unit: "ms", limit: null }]
  await using docker = await testDocker()
  return await benchDriver({ kind: "docker", dockerSocket: docker.socket }, 900)
}

/** `true` in bash by an agent's hands: with the sandbox opened for it, and in one that is open. */
async function benchDriver(which: Pick<SandboxesOptions, "kind" | "dockerSocket">, coldLimit: number): Promise<Row[]> {
  const dataDir = await mkdtemp(join(tmpdir(), "autonomis-bench-"))
  const sandboxes = createSandboxes({ ...which, dataDir, log: silentLogger, diskImageLingerMs: 0 })
  const signal = AbortSignal.timeout(600_000)
  try {
    const report = await sandboxes.selfTest(signal)
    if (!report.usable) throw new Error(report.problem ?? "the sandbox cannot be used")
    const spec: SandboxSpec = {
      id: "agt_bench",
      userId: "usr_bench",
      hostUid: 900_001,
      limits: { memoryBytes: 1.5 * 1024 ** 3, cpus: 1, pids: 256, storageBytes: 256 * 1024 ** 2 },
      network: "none",
      readOnlyMounts: [],
    }
    const hands = sandboxes.hands(spec, { secrets: async () => NO_SECRETS })
    const timed = async () => {
      const start = performance.now()
      await hands.exec({ command: "true" }, () => {}, signal)
      return performance.now() - start
    }
    const cold: number[] = []
    const warm: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      cold.push(await timed())
      for (let i = 0; i < 5; i++) warm.push(await timed())
      await sandboxes.stop(spec.id)
      // A cold call mounts the user's disk too, where there is one.
      await delay(UNMOUNTED_MS)
    }
    return [
      { name: `${which.kind}: cold tool call`, median: median(cold), unit: "ms", limit: coldLimit },
      {
        name: `${which.kind}: warm tool call`,
        median: median(warm),
        unit: "ms",
        limit: which.kind === "bubblewrap" ? 10 : null,
      },
    ]
  } finally {
    await sandboxes[Symbol.asyncDispose]()
    await rm(dataDir, { recursive: true, force: true })
  }
}
