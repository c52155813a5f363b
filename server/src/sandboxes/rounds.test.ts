import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { readdir, readFile } from "node:fs/promises"
import { test } from "node:test"
import { silentLogger } from "../lib/log.ts"
import type { SandboxSpec } from "./driver.ts"
import { createBubblewrapDriver } from "./drivers/bubblewrap/bubblewrap.ts"
import { connectGuest } from "./guest-client.ts"
import { anySignal, crashedServer, run, specOf, temporaryFolder, until } from "./testing.ts"

/** What a sandbox could leave behind on the host. */
async function traces(dataDir: string, hostUids: number[]) {
  const ours = createHash("sha256").update(dataDir).digest("hex").slice(0, 12)
  const mounts = (await readFile("/proc/self/mountinfo", "utf8")).split("\n").length
  const descriptors = (await readdir("/proc/self/fd")).length
  let processes = 0
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "")
    if (hostUids.includes(Number(/^Uid:\s+(\d+)/m.exec(status)?.[1]))) processes++
  }
  const trees = await readdir("/sys/fs/cgroup", { recursive: true }).catch((): string[] => [])
  const groups = trees.filter((name) =>
    new RegExp(`autonomis-${ours}\\.[\\d.]+/usr_test1/agt_test[^/]*$`).test(name),
  ).length
  return { mounts, descriptors, processes, groups, loops: loopsOf(dataDir) }
}

/** Loop devices of users' disks. */
function loopsOf(dataDir: string): number {
  const devices = readdirSync("/sys/block").filter((name) => name.startsWith("loop"))
  return devices.filter((name) => {
    try {
      return readFileSync(`/sys/block/${name}/loop/backing_file`, "utf8").startsWith(`${dataDir}/`)
    } catch {
      return false
    }
  }).length
}

const rounds = process.env.TEST_LONG ? 1_000 : 100

test(`${rounds} openings and closings leave no process, mount, loop device, control group, descriptor or file behind`, async () => {
  await using folder = await temporaryFolder()
  await using driver = createBubblewrapDriver({ dataDir: folder.path, log: silentLogger, lingerMs: 5 })
  const { holds } = await driver.selfTest(anySignal())
  // Two of them on disks of their own, which come and go.
  const limits = { ...specOf().limits, storageBytes: 16 * 1024 * 1024 }
  const users = ["usr_test1", "usr_test1", "usr_test2", "usr_test3"]
  const specs = users.map((userId, i) => specOf(i < 2 ? { userId } : { userId, limits }))
  const uids = process.getuid?.() === 0 ? specs.map(({ hostUid }) => hostUid) : []
  const before = await traces(folder.path, uids)
  const each = async (spec: SandboxSpec) => {
    for (let i = 0; i < rounds / specs.length; i++) {
      const stream = await driver.open(spec, anySignal())
      const client = await connectGuest(stream)
      // Something in the background each time, and each third one dies instead of being stopped.
      await run(client, "sleep 80 & setsid sleep 80 & mkdir -p x; touch x/y")
      if (spec.limits.storageBytes !== null && holds.includes("disk quota (images)"))
        assert.ok(loopsOf(folder.path) > 0)
      if (i % 3 === 0) stream.stream.destroy()
      await driver.stop(spec.id, anySignal())
      await stream.ended
    }
    await driver.destroy(spec, anySignal())
  }
  await Promise.all(specs.map(each))
  const clean = async () => {
    const now = await traces(folder.path, uids)
    return (
      now.processes + now.groups + now.loops === 0 &&
      now.mounts <= before.mounts &&
      now.descriptors <= before.descriptors
    )
  }
  await until("nothing is left", clean).catch(async (error) =>
    assert.fail(`${error} ${JSON.stringify([before, await traces(folder.path, uids)])}`),
  )
  assert.deepEqual(await driver.list(anySignal()), [])
  const left = await readdir(folder.path, { recursive: true })
  assert.deepEqual(
    left.filter((name) => name.includes("agt_test")),
    [],
  )
})

test("a server killed with -9 takes its sandboxes with it, and the next one finds nothing in its way", async () => {
  await using folder = await temporaryFolder()
  const spec = specOf()
  const background = 'await run(client, "setsid sleep 81 & sleep 81 & echo up")'
  await crashedServer("bubblewrap", { dataDir: folder.path }, [spec], background)
  const left = (await traces(folder.path, [])).groups
  await until("its sandboxes are gone", async () => (await traces(folder.path, [spec.hostUid])).processes === 0)
  await using driver = createBubblewrapDriver({ dataDir: folder.path, log: silentLogger })
  const client = await connectGuest(await driver.open(spec, anySignal()))
  assert.equal((await run(client, "pgrep -c sleep")).text, "0\n")
  assert.equal((await traces(folder.path, [])).groups, left, "those of the one that is open, no others")
})
