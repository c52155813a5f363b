import { spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { cleanEnvironment, ROOT, startServer } from "../../test/server.ts"
import { until } from "../../test/until.ts"
import { median, type Row } from "./rows.ts"
import { residentMb } from "./server.ts"

/** From the command until health answers, and what the server and its workers hold then. */
export async function benchStart(rounds = 7): Promise<Row[]> {
  const dataDir = mkdtempSync(join(tmpdir(), "autonomis-bench-"))
  try {
    const times: number[] = []
    for (let round = 0; round < rounds; round++) times.push(await timeToHealth(dataDir))
    await using server = await startServer({ dataDir, trusting: true })
    await until(() => server.output().stderr.includes("self-test"), "the self-test has run", 30_000)
    await pause(1000)
    return [
      { name: "npm start until health answers", median: median(times), unit: "ms", limit: 1200 },
      { name: "resident with its workers", median: residentMb(server.pid), unit: "MB", limit: 160 },
    ]
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
}

async function timeToHealth(dataDir: string): Promise<number> {
  const port = await freePort()
  const start = performance.now()
  const child = spawn("npm", ["start"], {
    cwd: ROOT,
    stdio: "ignore",
    env: { ...cleanEnvironment(), AUTONOMIS_DATA_DIR: dataDir, AUTONOMIS_PORT: String(port) },
  })
  const ended = new Promise((resolve) => child.once("exit", resolve))
  const healthy = () =>
    fetch(`http://127.0.0.1:${port}/health`)
      .then((answer) => answer.ok)
      .catch(() => false)
  await until(healthy, "health answers", 30_000)
  const took = performance.now() - start
  child.kill("SIGTERM")
  await ended
  return took
}

/** A port that was free a moment ago: what is timed here cannot be asked for its port. */
async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1")
  await new Promise((resolve) => probe.once("listening", resolve))
  const address = probe.address()
  await new Promise((resolve) => probe.close(resolve))
  return typeof address === "object" && address !== null ? address.port : 0
}
