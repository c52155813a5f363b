import assert from "node:assert/strict"
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs"
import { mkdir, readdir, rm, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { after, test } from "node:test"
import { z } from "zod"
import { dockerObstacle, type TestDocker, testDocker } from "../../../../../test/docker.ts"
import { silentLogger } from "../../../lib/log.ts"
import type { SandboxDriver, SandboxSpec } from "../../driver.ts"
import { connectGuest } from "../../guest-client.ts"
import { anySignal, crashedServer, run, specOf, temporaryFolder, until } from "../../testing.ts"
import { createDockerDriver, type DockerOptions, instanceOf } from "./docker.ts"
import { createEngine } from "./engine.ts"
import { createUserGroups } from "./user-groups.ts"

const obstacle = dockerObstacle()
const withDaemon = obstacle === null ? {} : { skip: obstacle }
let docker: Promise<TestDocker> | null = null
const daemon = () => {
  docker ??= testDocker()
  return docker
}
after(async () => (await docker)?.[Symbol.asyncDispose]())

const wide = { memoryBytes: 256 << 20, cpus: 1, pids: 64, storageBytes: null }
const Inspected = z.object({ HostConfig: z.object({ CpuShares: z.number(), NanoCpus: z.number() }) })

/** What one server has made on the host. */
function traces(dataDir: string, socket: string) {
  const engine = createEngine(socket)
  const instance = instanceOf(dataDir)
  const pathOf = (id: string) => `/containers/autonomis-${instance}-${id}`
  /** In version 1 or 2, made by the daemon itself or by systemd. */
  const base = `/sys/fs/cgroup/{*/,}autonomis_${instance}{,.slice}`
  const groupsOf = (userId: string) => globSync(`${base}/{,autonomis_*-}${userId}{,.slice}`)
  const fileOf = (userId: string, name: string) =>
    groupsOf(userId)
      .map((group) => join(group, name))
      .find((path) => existsSync(path))
  return {
    all: () => globSync(base),
    groupsOf,
    fileOf,
    remove: (id: string) => engine.call("DELETE", pathOf(id), { query: { force: "1" } }),
    hostConfigOf: async (id: string) => Inspected.parse(await engine.call("GET", `${pathOf(id)}/json`)).HostConfig,
    /** What a user's containers have had of the processor. */
    cpuSeconds(userId: string): number {
      const nanoseconds = fileOf(userId, "cpuacct.usage")
      if (nanoseconds !== undefined) return Number(readFileSync(nanoseconds, "utf8")) / 1e9
      const stat = readFileSync(fileOf(userId, "cpu.stat") ?? "", "utf8")
      return Number(/^usage_usec (\d+)$/m.exec(stat)?.[1]) / 1e6
    },
  }
}

interface Opened extends ReturnType<typeof traces> {
  driver: SandboxDriver
  open(spec: SandboxSpec): ReturnType<typeof connectGuest>
}

async function withDriver(options: Partial<DockerOptions>, use: (opened: Opened) => Promise<void>): Promise<void> {
  await using folder = await temporaryFolder()
  const { socket } = await daemon()
  await using driver = createDockerDriver({ dataDir: folder.path, log: silentLogger, socket, ...options })
  const { usable, problem } = await driver.selfTest(anySignal())
  assert.ok(usable, problem ?? "")
  const open = async (spec: SandboxSpec) => connectGuest(await driver.open(spec, anySignal()))
  await use({ ...traces(folder.path, socket), driver, open })
}

const HOG = "(while :; do :; done) > /dev/null 2>&1 & echo $!"

test("a user who keeps the processor busy goes behind everybody else, and comes back at rest", withDaemon, (context) =>
  withDriver({}, async ({ open, groupsOf, fileOf }) => {
    const client = await open(specOf({ userId: "usr_hog", limits: wide }))
    await open(specOf({ userId: "usr_calm", limits: wide }))
    assert.ok(groupsOf("usr_hog").length > 0)
    const [idle, other] = [fileOf("usr_hog", "cpu.idle"), fileOf("usr_calm", "cpu.idle")]
    if (idle === undefined || other === undefined) return context.skip("this kernel has no such rank")
    const all = `${dirname(dirname(idle))}/cpu.idle`
    const read = () => [idle, other, all].map((path) => readFileSync(path, "utf8").trim()).join()
    assert.equal(read(), "0,0,0")
    const hog = (await run(client, HOG)).text
    await until("it goes behind", () => read() === "1,0,1")
    await run(client, `kill -9 ${hog}`)
    await until("it comes forward", () => read() === "0,0,0")
  }),
)

test("where no group can be written, the daemon gives the containers of such a user less weight", withDaemon, () =>
  withDriver({ cgroups: "/nonexistent" }, async ({ open, groupsOf, hostConfigOf }) => {
    const [busy, resting, calm] = ["usr_hog", "usr_hog", "usr_calm"].map((userId) => specOf({ userId, limits: wide }))
    assert.ok(busy && resting && calm)
    const client = await open(busy)
    for (const spec of [resting, calm]) await open(spec)
    assert.deepEqual(groupsOf("usr_hog"), [])
    const weights = async () => {
      const all = [busy, resting, calm].map(({ id }) => hostConfigOf(id))
      return (await Promise.all(all)).map(({ CpuShares }) => CpuShares).join()
    }
    assert.equal(await weights(), "0,0,0", "the daemon's own weight")
    const hog = (await run(client, HOG)).text
    await until("both go behind", async () => (await weights()) === "2,2,0")
    await run(client, `kill -9 ${hog}`)
    await until("both come forward", async () => (await weights()) === "1024,1024,0")
  }),
)

test("two users share a contended processor equally, one with four busy containers and one with one", withDaemon, () =>
  // Nobody goes behind meanwhile.
  withDriver({ lookMs: 120_000 }, async ({ open, cpuSeconds }) => {
    for (const userId of ["usr_four", "usr_four", "usr_four", "usr_four", "usr_one"]) {
      const client = await open(specOf({ userId, limits: wide }))
      await run(client, "taskset -c 0 perl -e '1 while 1' > /dev/null 2>&1 &")
    }
    const spent = () => ["usr_four", "usr_one"].map(cpuSeconds)
    const before = spent()
    const since = () => spent().map((now, i) => now - (before[i] ?? 0))
    await until("enough was spent", () => since().reduce((sum, one) => sum + one) > 2, 60_000)
    const [four = 0, one = 0] = since()
    const words = `a user with one container got ${one} s, another with four ${four} s`
    assert.ok(one > 0.5 * four && four > 0.5 * one, words)
  }),
)

test("a container whose processes are killed for memory again and again keeps a tenth of a processor", withDaemon, () =>
  withDriver({}, async ({ open, hostConfigOf }) => {
    const spec = specOf({ userId: "usr_greedy", limits: wide })
    const client = await open(spec)
    const cpus = async () => (await hostConfigOf(spec.id)).NanoCpus / 1e9
    await run(client, `perl -e '$x="x"x(1<<30)'`)
    assert.equal(await cpus(), 1, "once may be a mishap")
    await run(client, `perl -e '$x="x"x(1<<30)'`)
    await until("it is restrained", async () => (await cpus()) === 0.1)
    assert.equal((await run(client, "echo works")).text, "works\n")
  }),
)

test("with systemd a user's group is a slice of their own, and systemd takes it away", async () => {
  await using folder = await temporaryFolder()
  const stopped = join(folder.path, "stopped")
  const root = join(folder.path, "tree")
  const slice = join(root, "autonomis_x.slice", "autonomis_x-usr_1.slice")
  const { PATH } = process.env
  await mkdir(join(folder.path, "bin"))
  await writeFile(join(folder.path, "bin/systemctl"), `#!/bin/sh\necho "$@" >> ${stopped}\n`, { mode: 0o755 })
  process.env.PATH = `${folder.path}/bin:${PATH}`
  try {
    const containers = { update: async () => {} }
    using groups = createUserGroups({ containers, instance: "x", log: silentLogger, root })
    await mkdir(join(slice, "docker-1.scope"), { recursive: true })
    groups.setDaemon({ CgroupDriver: "none", CgroupVersion: "2" })
    assert.equal(groups.parentOf("usr_1"), null)
    groups.setDaemon({ CgroupDriver: "systemd", CgroupVersion: "2" })
    assert.equal(groups.parentOf("usr_1"), "autonomis_x-usr_1.slice")
    assert.equal(groups.parentOf("self-test"), "autonomis_x-self_test.slice", "a dash would be a slice more")
    const member = await groups.enter("usr_1")
    await groups.removeEmpty()
    await member.leave()
    assert.equal(existsSync(stopped), false, "it is not empty")
    await rm(join(slice, "docker-1.scope"), { recursive: true })
    await groups.removeEmpty()
    assert.equal(readFileSync(stopped, "utf8"), "stop autonomis_x-usr_1.slice\nstop autonomis_x.slice\n")
    assert.deepEqual(await readdir(root), [])
  } finally {
    process.env.PATH = PATH
  }
})

test("a user's group goes with their last container", withDaemon, () =>
  withDriver({}, async ({ driver, open, groupsOf }) => {
    assert.deepEqual(groupsOf("self[-_]test"), [], "the self-test's went with it")
    const [one, two] = [specOf(), specOf()]
    for (const spec of [one, two]) await open(spec)
    for (const spec of [one, two]) {
      assert.ok(groupsOf(spec.userId).length > 0)
      await driver.stop(spec.id, anySignal())
    }
    assert.deepEqual(groupsOf(one.userId), [])
    const tooSmall = specOf({ limits: { ...wide, memoryBytes: 8 << 20 } })
    await assert.rejects(driver.open(tooSmall, anySignal()))
    assert.deepEqual(groupsOf(one.userId), [], "also of one that did not start")
  }),
)

test(
  "the groups that a server killed with -9 left go with their containers, and nobody is behind any more",
  withDaemon,
  async () => {
    await using folder = await temporaryFolder()
    const { socket } = await daemon()
    const { all, fileOf, groupsOf, remove } = traces(folder.path, socket)
    const [taken, removed, ended] = ["usr_taken", "usr_removed", "usr_ended"].map((userId) => specOf({ userId }))
    assert.ok(taken && removed && ended)
    await crashedServer("docker", { dataDir: folder.path, socket }, [taken, removed, ended], "")
    const idle = fileOf("usr_taken", "cpu.idle")
    if (idle !== undefined) writeFileSync(idle, "1")
    await remove(ended.id)
    await using driver = createDockerDriver({ dataDir: folder.path, log: silentLogger, socket })
    assert.ok(groupsOf("usr_ended").length > 0)
    await driver.open(taken, anySignal())
    if (idle !== undefined) assert.equal(readFileSync(idle, "utf8"), "0\n")
    assert.deepEqual(groupsOf("usr_ended"), [])
    assert.ok(groupsOf("usr_removed").length > 0)
    await driver.stop(removed.id, anySignal())
    assert.deepEqual(groupsOf("usr_removed"), [])
    await driver[Symbol.asyncDispose]()
    assert.deepEqual(all(), [], "nor the group of all")
  },
)
