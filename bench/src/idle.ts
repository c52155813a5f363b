import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { startOpenAiDouble } from "../../test/doubles/openai.ts"
import { median, type Row } from "./rows.ts"
import { account, benchServer, cpuMs, residentMb } from "./server.ts"

const AGENTS = 1000
const WATCHED_MS = 3000

/** What 1,000 agents that do nothing hold, beside a platform without any; each start is measured anew. */
export async function benchIdle(rounds = 5): Promise<Row[]> {
  await using double = await startOpenAiDouble()
  const folders = [0, 1].map(() => mkdtempSync(join(tmpdir(), "autonomis-bench-")))
  const [empty = "", full = ""] = folders
  try {
    await fill(double.url, full)
    await measure(double.url, empty)
    const memory: number[] = []
    const cpu: number[] = []
    for (let round = 0; round < rounds; round++) {
      const without = await measure(double.url, empty)
      const withAgents = await measure(double.url, full)
      memory.push(withAgents.mb - without.mb)
      cpu.push(withAgents.cpuMs - without.cpuMs)
    }
    // "No measurable": within what two starts of the same server differ by.
    return [
      { name: `${AGENTS} agents that do nothing: memory`, median: median(memory), unit: "MB", limit: 4 },
      { name: `${AGENTS} agents that do nothing: CPU of a second`, median: median(cpu), unit: "ms", limit: 10 },
    ]
  } finally {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true })
  }
}

async function fill(doubleUrl: string, dataDir: string): Promise<void> {
  await using server = await benchServer(doubleUrl, { AUTONOMIS_SANDBOX: "none" }, dataDir)
  const names = Array.from({ length: AGENTS }, (_, i) => `agent-${i}`)
  await account(server, "ada", names)
  await server.stop()
}

async function measure(doubleUrl: string, dataDir: string): Promise<{ mb: number; cpuMs: number }> {
  await using server = await benchServer(doubleUrl, { AUTONOMIS_SANDBOX: "none" }, dataDir)
  await pause(2000)
  const before = cpuMs(server.pid)
  await pause(WATCHED_MS)
  const used = ((cpuMs(server.pid) - before) * 1000) / WATCHED_MS
  const mb = residentMb(server.pid)
  await server.stop()
  return { mb, cpuMs: used }
}
