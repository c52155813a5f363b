import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { silentLogger } from "../../server/src/lib/log.ts"
import { createRedactor } from "../../server/src/lib/redact.ts"
import type { SandboxSpec } from "../../server/src/sandboxes/driver.ts"
import { createSandboxes, type SandboxKind } from "../../server/src/sandboxes/sandboxes.ts"

export interface Row {
  name: string
  median: number
  unit: string
  limit: number | null
}

const NO_SECRETS = { env: {}, redactor: createRedactor([]) }

/** `true` in bash by an agent's hands: with the sandbox opened for it, and in one that is open. */
export async function benchSandbox(kind: SandboxKind = "bubblewrap", rounds = 20): Promise<Row[]> {
  const dataDir = await mkdtemp(join(tmpdir(), "autonomis-bench-"))
  const sandboxes = createSandboxes({ kind, dataDir, log: silentLogger })
  const signal = AbortSignal.timeout(600_000)
  try {
    const report = await sandboxes.selfTest(signal)
    if (!report.usable) throw new Error(report.problem ?? "the sandbox cannot be used")
    const spec: SandboxSpec = {
      id: "agt_bench",
      userId: "usr_bench",
      hostUid: 900_001,
      limits: { memoryBytes: 1.5 * 1024 ** 3, cpus: 1, pids: 256, storageBytes: null },
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
    for (let round = 0; round < rounds; round++) {
      cold.push(await timed())
      for (let i = 0; i < 5; i++) warm.push(await timed())
      await sandboxes.stop(spec.id)
    }
    return [
      {
        name: `${kind}: cold tool call`,
        median: medianOf(cold),
        unit: "ms",
        limit: kind === "bubblewrap" ? 120 : null,
      },
      { name: `${kind}: warm tool call`, median: medianOf(warm), unit: "ms", limit: 10 },
    ]
  } finally {
    await sandboxes[Symbol.asyncDispose]()
    await rm(dataDir, { recursive: true, force: true })
  }
}

function medianOf(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}
