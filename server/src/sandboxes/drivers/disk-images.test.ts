import assert from "node:assert/strict"
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { globSync, readFileSync } from "node:fs"
import { access, lstat, mkdir, open, readdir, readFile, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import { describe, type TestContext, test } from "node:test"
import { AppError } from "../../lib/errors.ts"
import { silentLogger } from "../../lib/log.ts"
import { createRedactor } from "../../lib/redact.ts"
import { HandsError } from "../../runtime/hands.ts"
import type { SandboxSpec } from "../driver.ts"
import { filesContract } from "../files-contract.ts"
import { connectGuest } from "../guest-client.ts"
import { createSandboxes, type Sandboxes } from "../sandboxes.ts"
import { anySignal, specOf, temporaryFolder, until } from "../testing.ts"
import { createBubblewrapDriver } from "./bubblewrap/bubblewrap.ts"
import { identityOf } from "./cgroups.ts"
import { createNoneDriver } from "./none/none.ts"

const MIB = 1024 * 1024
const LIMIT = 16 * MIB
const secrets = async () => ({ env: {}, redactor: createRedactor([]) })
const limits = (storageBytes: number | null) => ({ memoryBytes: 512 * MIB, cpus: 1, pids: 128, storageBytes })
const limited = (changes: Partial<SandboxSpec> = {}) => specOf({ limits: limits(LIMIT), ...changes })

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )

/** Loop devices of images in this folder. */
const loops = (folder: string) =>
  execFileSync("/usr/sbin/losetup", ["-a"], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.includes(folder)).length

async function ownChildren(name: string): Promise<number[]> {
  const found: number[] = []
  for (const pid of await readdir("/proc")) {
    const status = /^\d+$/.test(pid) ? await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "") : ""
    if (status.includes(`(${name})`) && status.slice(status.lastIndexOf(")") + 2).split(" ")[1] === String(process.pid))
      found.push(Number(pid))
  }
  return found
}

interface Ground {
  sandboxes: Sandboxes
  dataDir: string
  image(userId: string): string
  bash(spec: SandboxSpec, command: string): Promise<{ output: string; killed: string | null; exitCode: number | null }>
}

async function withImages(
  t: TestContext,
  use: (ground: Ground) => Promise<void>,
  before: (dataDir: string) => Promise<void> = async () => {},
): Promise<void> {
  await using folder = await temporaryFolder()
  await before(folder.path)
  {
    await using sandboxes = createSandboxes({
      ...{ kind: "bubblewrap", dataDir: folder.path, log: silentLogger, diskImageLingerMs: 10 },
      // Not by the machine's memory.
      maxOpen: 100,
      storageBytes: async () => LIMIT,
    })
    const { holds } = await sandboxes.selfTest(anySignal())
    if (!holds.includes("disk quota (images)")) {
      assert.ok(holds.includes("disk watch"), holds.join())
      return t.skip("no loop device can be mounted here")
    }
    const bash = (spec: SandboxSpec, command: string) =>
      sandboxes.hands(spec, { secrets }).exec({ command }, () => {}, anySignal())
    const image = (userId: string) => join(folder.path, "users", userId, "workspaces.img")
    await use({ sandboxes, dataDir: folder.path, image, bash })
  }
  await until("no loop device is left", () => loops(folder.path) === 0)
}

test("a user's workspaces take their limit in bytes and no more, and the command is told", (t) =>
  withImages(t, async ({ bash, sandboxes }) => {
    const [one, other] = [limited(), limited()]
    const full = await bash(
      one,
      "for i in $(seq 400); do head -c 1M /dev/zero > f$i || break; done; du -sb . | cut -f1",
    )
    assert.match(full.output, /No space left on device[\s\S]*the disk is full: storage limit 16 MiB/)
    const held = Number(/^(\d+)$/m.exec(full.output)?.[1])
    assert.ok(held >= LIMIT && held < LIMIT * 1.1, `${held} bytes fit in`)
    assert.match((await bash(other, "echo x > x")).output, /No space left/, "the user's agents share it")
    const files = sandboxes.files(other)
    await assert.rejects(
      files.write("up", Buffer.alloc(MIB), { maxBytes: 2 * MIB }, anySignal()),
      (error) => error instanceof AppError && error.code === "plan_limit",
    )
    const stranger = limited({ userId: "usr_other" })
    assert.equal((await bash(stranger, "head -c 4M /dev/zero > f; echo fine")).output, "fine\n")
    assert.deepEqual((await bash(one, "rm f*; head -c 4M /dev/zero > f; echo again")).output, "again\n")
  }))

test("what is written to a user's disk passes the host's page cache by, few and small requests at a time", (t) =>
  withImages(t, async ({ bash, image }) => {
    const spec = limited()
    await bash(spec, "true")
    const loop = () =>
      execFileSync("/usr/sbin/losetup", ["-nO", "NAME,DIO", "-j", image(spec.userId)], { encoding: "utf8" })
    await until("the disk steps back", async () => /loop\d+ +1\n/.test(loop()))
    const [, name = ""] = /(loop\d+)/.exec(loop()) ?? []
    await until(
      "few requests at a time",
      async () => readFileSync(`/sys/block/${name}/queue/nr_requests`, "utf8") === "4\n",
    )
  }))

test("a user's disk is paced while it is mounted, and its device is not afterwards", async (t) => {
  const v1 = globSync("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device")
  // Version 2 holds what all sandboxes of a server take: only of this process's groups, as others' come and go.
  const paces = () => [...v1, ...globSync(`/sys/fs/cgroup/**/autonomis-*.${identityOf(process.pid)}/io.max`)]
  const lines = () => paces().map((path) => readFileSync(path, "utf8"))
  let isPaced = () => false
  await withImages(t, async ({ bash, image }) => {
    const spec = limited()
    await bash(spec, "true")
    if (paces().length === 0) return t.skip("control groups do not hold the disks here")
    const device = execFileSync("/usr/sbin/losetup", ["-nO", "MAJ:MIN", "-j", image(spec.userId)], { encoding: "utf8" })
    const line = new RegExp(`^${device.trim()} (.*wbps=)?${64 * MIB}\\b`, "m")
    isPaced = () => lines().some((text) => line.test(text))
    await until("it is paced", isPaced)
  })
  await until("it no longer is", () => !isPaced())
})

test("and their limit in files", (t) =>
  withImages(t, async ({ bash }) => {
    const flood = await bash(limited(), `perl -e 'for (1 .. 100_000) { open F, ">", "f$_" or die "$_: $!" }'`)
    assert.match(flood.output, /^20\d\d\d: No space left on device/)
    assert.match(flood.output, /the disk is full: storage limit 16 MiB/)
  }))

test("nothing is made for who only reads; files are read and written with no sandbox open", (t) =>
  withImages(t, async ({ sandboxes, image, dataDir, bash }) => {
    const spec = limited()
    const files = sandboxes.files(spec)
    assert.deepEqual(await files.list("", { limit: 5 }, anySignal()), [])
    assert.deepEqual(await files.usage(anySignal()), { bytes: 0, entries: 0 })
    await assert.rejects(files.stat("a", anySignal()), { code: "not_found" })
    await assert.rejects(files.remove("a", { recursive: true }, anySignal()), { code: "not_found" })
    assert.equal(await exists(image(spec.userId)), false)
    await files.write("a/b", Buffer.from("kept"), { maxBytes: 9 }, anySignal())
    await until("it is unmounted", () => loops(dataDir) === 0)
    const { body } = await files.read("a/b", null, anySignal())
    assert.equal(Buffer.concat(await body.toArray()).toString(), "kept")
    assert.deepEqual(await files.usage(anySignal()), { bytes: 4, entries: 2 })
    // Somebody who reads slowly keeps it.
    const slow = await files.read("a/b", null, anySignal())
    await new Promise((resolve) => setTimeout(resolve, 100))
    assert.equal(loops(dataDir), 1)
    slow.body.destroy()
    await until("it is unmounted", () => loops(dataDir) === 0)
    assert.equal((await bash(spec, "cat a/b; stat -c %a:%U .")).output, "kept700:agent\n")
    assert.ok((await stat(image(spec.userId))).blocks * 512 < 4 * MIB, "an image holds no more than what is in it")
  }))

test("openings and closings, agents and users that go leave no mount, loop device or file behind", (t) =>
  withImages(t, async ({ sandboxes, dataDir, image, bash }) => {
    const specs = [limited(), limited(), limited({ userId: "usr_second" })]
    for (let round = 0; round < (process.env.TEST_LONG ? 100 : 8); round++) {
      await Promise.all(
        specs.map(async (spec) => {
          assert.equal(
            (await bash(spec, `echo ${round} >> rounds; sleep 82 & wc -l < rounds`)).output,
            `${round + 1}\n`,
          )
          await sandboxes.stop(spec.id)
        }),
      )
    }
    await until("all are unmounted", () => loops(dataDir) === 0)
    const [gone, stays, second] = specs
    assert.ok(gone && stays && second)
    await sandboxes.destroy(gone, anySignal())
    assert.equal((await bash(stays, "wc -l < rounds")).exitCode, 0)
    await bash(second, "true")
    await sandboxes.endUser(second.userId)
    await sandboxes.removeFolder(join(dataDir, "users", second.userId), anySignal())
    await until("the user's is gone", () => loops(dataDir) === 1)
    await sandboxes.stop(stays.id)
    await until("the other is unmounted", () => loops(dataDir) === 0)
    assert.deepEqual(await readdir(join(dataDir, "users")), [stays.userId])
    execFileSync("/usr/sbin/e2fsck", ["-fn", image(stays.userId)])
  }))

test("a server killed with -9 leaves no mount and no loop device, and what was written is there for the next", async (t) => {
  await withImages(t, async () => {})
  await using folder = await temporaryFolder()
  const spec = limited()
  const script = `
    import { createBubblewrapDriver } from ${JSON.stringify(import.meta.resolve("./bubblewrap/bubblewrap.ts"))}
    import { connectGuest } from ${JSON.stringify(import.meta.resolve("../guest-client.ts"))}
    import { run } from ${JSON.stringify(import.meta.resolve("../testing.ts"))}
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const driver = createBubblewrapDriver({ dataDir: ${JSON.stringify(folder.path)}, log })
    const client = await connectGuest(await driver.open(${JSON.stringify(spec)}, AbortSignal.timeout(60000)))
    await run(client, "echo command > by-command; setsid sleep 83 & echo up")
    await driver.files(${JSON.stringify(spec)}).write("by-api", Buffer.from("api"), { maxBytes: 9 }, AbortSignal.timeout(9000))
    console.log("ready")
    setInterval(() => {}, 1000)`
  const server = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  const [said] = await Promise.race([once(server.stdout, "data"), once(server, "close")])
  if (!String(said).startsWith("ready")) return t.skip("not here")
  if (process.getuid?.() !== 0) return void server.kill("SIGKILL")
  assert.equal(loops(folder.path), 1)
  server.kill("SIGKILL")
  await once(server, "close")
  // At once, whether the old one is gone yet or not: there is one file system, whoever mounts it.
  await using driver = createBubblewrapDriver({ dataDir: folder.path, log: silentLogger })
  const text = async (path: string) => {
    const { body } = await driver.files(spec).read(path, null, anySignal())
    return Buffer.concat(await body.toArray()).toString()
  }
  assert.deepEqual([await text("by-command"), await text("by-api")], ["command\n", "api"])
  await driver[Symbol.asyncDispose]()
  await until("no loop device is left", () => loops(folder.path) === 0)
  execFileSync("/usr/sbin/e2fsck", ["-fn", join(folder.path, "users", spec.userId, "workspaces.img")])
})

test("many users at once each have their own", (t) =>
  withImages(t, async ({ bash, dataDir }) => {
    const specs = Array.from({ length: process.env.TEST_LONG ? 60 : 12 }, (_, i) => limited({ userId: `usr_many${i}` }))
    const told = await Promise.all(
      specs.map((spec) => bash(spec, `echo ${spec.id} > id; df --output=source . | tail -1`)),
    )
    assert.equal(new Set(told.map(({ output }) => output)).size, specs.length)
    assert.equal(loops(dataDir), specs.length)
    const back = await Promise.all(specs.map((spec) => bash(spec, "cat id")))
    assert.deepEqual(
      back.map(({ output }) => output.trim()),
      specs.map(({ id }) => id),
    )
  }))

test("what a command has synced is there after a cut of the power, which leaves a disk that nobody has unmounted", (t) =>
  withImages(t, async ({ bash, image }) => {
    const spec = limited()
    await bash(spec, "mkdir -p a/b; echo synced > a/b/file; sync a/b/file a/b a; echo more > more")
    await using elsewhere = await temporaryFolder()
    const copy = join(elsewhere.path, "users", spec.userId)
    await mkdir(copy, { recursive: true })
    // As it stands now, with the journal of a file system in use.
    execFileSync("cp", ["--sparse=always", image(spec.userId), copy])
    await using after = createBubblewrapDriver({ dataDir: elsewhere.path, log: silentLogger, lingerMs: 0 })
    const { body } = await after.files(spec).read("a/b/file", null, anySignal())
    assert.equal(Buffer.concat(await body.toArray()).toString(), "synced\n")
    await until("it is unmounted", () => loops(elsewhere.path) === 0)
    execFileSync("/usr/sbin/e2fsck", ["-fn", join(copy, "workspaces.img")])
  }))

test("a user without a limit has a disk of their own too, as large as the host's", (t) =>
  withImages(t, async ({ bash, dataDir, image }) => {
    const spec = specOf({ limits: limits(null) })
    const { output } = await bash(
      spec,
      "df -k --output=size . | tail -1; dd if=/dev/zero of=large bs=1M count=40 2>&1 | tail -1",
    )
    const host = execFileSync("df", ["-k", "--output=size", dataDir], { encoding: "utf8" }).split("\n")[1]
    assert.ok(Number.parseInt(output, 10) > 0.8 * Number(host), output)
    assert.ok((await stat(image(spec.userId))).blocks * 512 < 200 * MIB, "it takes what is in it")
  }))

test("a larger limit grows the disk, open or not; a smaller one is watched", (t) =>
  withImages(t, async ({ bash, sandboxes }) => {
    const spec = limited()
    const size = async (other: SandboxSpec) => Number((await bash(other, "df -k --output=size . | tail -1")).output)
    const first = await size(spec)
    const larger = { ...spec, limits: limits(64 * MIB) }
    assert.ok((await size(larger)) > first + 40_000, "with the next command")
    await sandboxes.stop(spec.id)
    const largest = { ...spec, limits: limits(128 * MIB) }
    assert.ok((await size(largest)) > first + 100_000, "when it is opened")
    assert.equal((await bash(largest, "head -c 40M /dev/zero > f; stat -c %s f")).output, `${40 * MIB}\n`)
    const smaller = { ...spec, limits: limits(32 * MIB) }
    const grows = await bash(
      smaller,
      "for i in $(seq 5000); do head -c 100K /dev/zero > g$i; sleep 0.01; done; echo all",
    )
    assert.match(grows.killed ?? "", /^killed: storage limit 32 MiB/)
    assert.equal((await bash(smaller, "rm f g*; echo room")).output, "room\n")
  }))

test("a workspace that was a folder stays one, and is watched", (t) => {
  const spec = limited()
  const before = async (dataDir: string) => {
    await using watching = createSandboxes({ kind: "bubblewrap", dataDir, log: silentLogger, diskQuota: "watch" })
    await watching.files(spec).write("old", Buffer.from("old"), { maxBytes: 9 }, anySignal())
  }
  return withImages(
    t,
    async ({ dataDir, bash, image }) => {
      assert.equal((await bash(spec, "cat old; echo new > new")).output, "old")
      const folder = join(dataDir, "users", spec.userId, "agents", spec.id, "workspace")
      assert.deepEqual((await readdir(folder)).filter((name) => name !== ".autonomis").sort(), ["new", "old"])
      const many = await bash(spec, "for i in $(seq 4000); do head -c 500K /dev/zero > f$i; sleep 0.01; done; echo all")
      assert.match(many.killed ?? "", /^killed: storage limit 16 MiB/)
      // The user's next agent gets the disk.
      assert.equal((await bash(limited(), "echo x > x; cat x")).output, "x\n")
      assert.ok((await lstat(image(spec.userId))).isFile())
    },
    before,
  )
})

test("when the helper that holds the mounts is ended, all goes on with the same file system", (t) =>
  withImages(t, async ({ bash, sandboxes, dataDir, image }) => {
    const spec = limited()
    await bash(spec, "echo 1 > file; sleep 84 &")
    const helpers = await ownChildren("cat")
    assert.equal(helpers.length, 1)
    for (const pid of helpers) {
      const mounts = await readFile(`/proc/${pid}/mounts`, "utf8")
      assert.match(mounts, /^\/dev\/loop\d+ \/run\/disks\/usr_test1 ext4 rw,nosuid,nodev,/m)
      process.kill(pid, "SIGKILL")
    }
    const other = limited()
    await until("another is made", () =>
      bash(other, "echo 2 > file").then(
        ({ exitCode }) => exitCode === 0,
        () => false,
      ),
    )
    assert.equal((await bash(spec, "cat file; echo 3 > third")).output, "1\n")
    assert.equal(loops(dataDir), 1, "one device, whoever mounts it")
    const { body } = await sandboxes.files(spec).read("third", null, anySignal())
    assert.equal(Buffer.concat(await body.toArray()).toString(), "3\n")
    await sandboxes.stopUser(spec.userId)
    await until("it is unmounted", () => loops(dataDir) === 0)
    execFileSync("/usr/sbin/e2fsck", ["-fn", image(spec.userId)])
  }))

test("a disk that is damaged, or that this server cannot mount, is refused in words, and nothing is made beside it", (t) =>
  withImages(t, async ({ bash, sandboxes, dataDir, image }) => {
    const spec = limited()
    await bash(spec, "echo kept > kept")
    await sandboxes.stop(spec.id)
    await until("it is unmounted", () => loops(dataDir) === 0)
    const file = await open(image(spec.userId), "r+")
    const { buffer: superblock } = await file.read(Buffer.alloc(1024), 0, 1024, 1024)
    await file.write(Buffer.alloc(1024), 0, 1024, 1024)
    const words = /the disk of this user's workspaces cannot be opened/
    await assert.rejects(bash(spec, "true"), (error) => error instanceof HandsError && words.test(error.message))
    await assert.rejects(sandboxes.files(spec).list("", { limit: 1 }, anySignal()), words)
    await file.write(superblock, 0, 1024, 1024)
    await file.close()
    assert.equal((await bash(spec, "cat kept")).output, "kept\n")
    await sandboxes.stop(spec.id)
    {
      await using none = createBubblewrapDriver({ dataDir, log: silentLogger, weakened: { sameUid: true } })
      const files = none.files(spec)
      await assert.rejects(files.list("", { limit: 1 }, anySignal()), /only a server with root's rights/)
      await assert.rejects(
        files.write("x", Buffer.from("x"), { maxBytes: 1 }, anySignal()),
        /only a server with root's/,
      )
    }
    const plain = createNoneDriver({ dataDir, log: silentLogger })
    await assert.rejects(plain.open(spec, anySignal()), /only a server with root's rights/)
    await rm(join(dataDir, "users", spec.userId), { recursive: true })
  }))

test("with the setting `watch` no disk is made, and those that there are go on being used", (t) =>
  withImages(t, async ({ bash, sandboxes, dataDir, image }) => {
    const spec = limited()
    await bash(spec, "echo kept > kept")
    await sandboxes.stop(spec.id)
    await using watching = createSandboxes({ kind: "bubblewrap", dataDir, log: silentLogger, diskQuota: "watch" })
    assert.ok((await watching.selfTest(anySignal())).holds.includes("disk watch"))
    const other = limited({ userId: "usr_other" })
    const run = (who: SandboxSpec) =>
      watching.hands(who, { secrets }).exec({ command: "cat kept; pwd" }, () => {}, anySignal())
    assert.equal((await run(spec)).output, "kept\n/work\n")
    assert.match((await run(other)).output, /No such file[\s\S]*\/work/)
    assert.equal(await exists(image(other.userId)), false)
  }))

describe("on a disk of their own", () =>
  filesContract(async (use) => {
    await using folder = await temporaryFolder()
    await using driver = createBubblewrapDriver({
      ...{ dataDir: folder.path, log: silentLogger, lingerMs: 0 },
      storageBytes: async () => LIMIT,
    })
    const spec = specOf()
    // Made with a limit, then opened by a user who has none any more: the contract's files are larger than any limit.
    await driver.files(spec).write("first", Buffer.from("x"), { maxBytes: 1 }, anySignal())
    await driver.files(spec).remove("first", { recursive: false }, anySignal())
    const stream = await driver.open(spec, anySignal())
    if (process.getuid?.() === 0 && stream.host?.disk != null)
      assert.match(stream.host.workspace, /\/disks\/usr_test1\//)
    await use({ driver, spec, client: await connectGuest(stream) })
  }))
