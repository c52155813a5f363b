import assert from "node:assert/strict"
import { readdir, readFile } from "node:fs/promises"
import { test } from "node:test"
import { silentLogger } from "../../../lib/log.ts"
import { driverContract } from "../../driver-contract.ts"
import { connectGuest } from "../../guest-client.ts"
import { anySignal, run, specOf, temporaryFolder, until } from "../../testing.ts"
import { createBubblewrapDriver } from "./bubblewrap.ts"

// Workspaces that are folders, where they can be found from outside; `disk-images.test.ts` has those on users' disks.
driverContract("bubblewrap", (dataDir) => createBubblewrapDriver({ dataDir, log: silentLogger, diskQuota: "watch" }))

test("when the helper that shows the data folder is ended, the next opening makes another", async () => {
  await using folder = await temporaryFolder()
  await using driver = createBubblewrapDriver({ dataDir: folder.path, log: silentLogger })
  await driver.selfTest(anySignal())
  const helpers = await children("cat")
  // Only root needs one: others pass their own folders.
  assert.equal(helpers.length, process.getuid?.() === 0 ? 1 : 0)
  for (const pid of helpers) process.kill(pid, "SIGKILL")
  await until("it is gone", async () => (await children("cat")).length === 0)
  const client = await connectGuest(await driver.open(specOf(), anySignal()))
  assert.equal((await run(client, "echo works")).text, "works\n")
})

async function children(name: string): Promise<number[]> {
  const found: number[] = []
  for (const pid of await readdir("/proc")) {
    const stat = /^\d+$/.test(pid) ? await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "") : ""
    if (stat.includes(`(${name})`) && stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1] === String(process.pid))
      found.push(Number(pid))
  }
  return found
}
