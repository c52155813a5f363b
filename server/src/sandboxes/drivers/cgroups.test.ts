import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { existsSync, globSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { temporaryFolder, until } from "../testing.ts"
import { type Cgroup2Double, cgroup2Double, GONE } from "./cgroup2-double.ts"
import { type Cgroup, closeAll, identityOf, openCgroups } from "./cgroups.ts"
import { RESTRAINED_CPUS } from "./restraint.ts"

const LIMITS = { memoryBytes: 1000, cpus: 0.5, pids: 7, storageBytes: null }
const specOf = (id: string, userId = "usr_1") => ({ id, userId, limits: LIMITS })
const SERVER = "1.101.7"
const OURS = `autonomis-ours.${SERVER}`
const SERVICE = "system.slice/autonomis.service"

interface Tools extends Omit<Cgroup2Double, typeof Symbol.dispose> {
  root: string
  text(path: string): string
  /** As systemd and container engines do: hands these controllers on to a group. */
  delegate(path: string, controllers: string[]): void
}

/** These rules are played: where version 1 holds the controllers, the kernel has none to give to version 2. */
async function withDouble(use: (tools: Tools) => Promise<void>): Promise<void> {
  await using folder = await temporaryFolder()
  const root = folder.path
  using double = cgroup2Double(root, ["cpuset", "cpu", "io", "memory", "pids"])
  await use({
    root,
    ...{ processes: double.processes, start: double.start, end: double.end },
    text: (path) => readFileSync(join(root, path), "utf8").trim(),
    delegate(path, controllers) {
      let group = ""
      for (const part of path.split("/")) {
        writeFileSync(join(root, group, "cgroup.subtree_control"), controllers.map((one) => `+${one}`).join(" "))
        group = join(group, part)
        mkdirSync(join(root, group), { recursive: true })
      }
    },
  })
}

test("version 2: our own processes move to a leaf, and each sandbox gets a group with its limits", () =>
  withDouble(async ({ root, text, processes, start, end, delegate }) => {
    delegate(SERVICE, ["cpu", "memory", "pids"])
    for (const pid of ["101", "102"]) start(SERVICE, pid)
    const groups = openCgroups({ name: "autonomis-ours", server: SERVER, root, own: `0::/${SERVICE}\n` })
    assert.deepEqual([groups?.version, groups?.holds], ["v2", ["cpu limit", "memory limit", "process limit"]])
    assert.deepEqual(processes(`${SERVICE}/autonomis-server`), ["101", "102"])
    const group = groups?.create(specOf("agt_1"))
    const [name = ""] = readdirSync(join(root, SERVICE, OURS, "usr_1")).filter((entry) => entry.startsWith("agt_1."))
    const at = `${SERVICE}/${OURS}/usr_1/${name}`
    const files = ["memory.max", "memory.swap.max", "pids.max", "cpu.max"]
    assert.deepEqual(
      files.map((file) => text(`${at}/${file}`)),
      ["1000", "0", "7", "50000 100000"],
    )
    assert.deepEqual(group?.inForce(), [], "with nothing in it nothing is in force")
    start(at, "201")
    assert.deepEqual(group?.inForce(), ["cpu limit", "memory limit", "process limit"])
    writeFileSync(join(root, at, "memory.events"), "oom 3\noom_kill 2\n")
    writeFileSync(join(root, at, "pids.events"), "max 4\n")
    assert.deepEqual(group?.hits(), { memory: 2, pids: 4 })
    const removed = group?.remove()
    assert.ok(existsSync(join(root, at)), "not while a process is in it")
    end(at, "201")
    await removed
    await until("it is gone", () => !existsSync(join(root, at)))
  }))

test("version 2: a disk is paced for all sandboxes together, where the io controller was handed on", () =>
  withDouble(async ({ root, text, delegate }) => {
    delegate(SERVICE, ["memory", "io"])
    const groups = openCgroups({ name: "autonomis-ours", server: SERVER, root, own: `0::/${SERVICE}\n` })
    groups?.paceDisk("7:0", 1000)
    assert.equal(text(`${SERVICE}/${OURS}/io.max`), "7:0 rbps=1000 wbps=1000")
    groups?.paceDisk("7:0", null)
    assert.equal(text(`${SERVICE}/${OURS}/io.max`), "7:0 rbps=max wbps=max")
  }))

test("version 2: without the io controller disks are not paced, and all else holds", () =>
  withDouble(async ({ root, delegate }) => {
    delegate(SERVICE, ["memory"])
    const groups = openCgroups({ name: "autonomis-ours", server: SERVER, root, own: `0::/${SERVICE}\n` })
    groups?.paceDisk("7:0", 1000)
    assert.deepEqual(groups?.holds, ["memory limit"])
  }))

test("version 2: the group of a user who keeps the processor busy steps back, and comes forward again", () =>
  withDouble(async ({ root, text, delegate }) => {
    delegate(SERVICE, ["memory", "cpu"])
    const own = `0::/${SERVICE}\n`
    await using groups = openCgroups({ name: "autonomis-ours", server: SERVER, root, own, lookMs: 5 })
    const group = groups?.create({ id: "agt_1", userId: "usr_1", limits: LIMITS })
    const user = `${SERVICE}/${OURS}/usr_1`
    const [name = ""] = readdirSync(join(root, user)).filter((entry) => entry.startsWith("agt_1."))
    let periods = 0
    const busy = setInterval(() => {
      periods += 100
      writeFileSync(join(root, user, name, "cpu.stat"), `nr_periods ${periods}\nnr_throttled 0\n`)
    }, 1)
    await until("it steps back", () => text(`${user}/cpu.idle`) === "1")
    assert.equal(text(`${SERVICE}/${OURS}/cpu.idle`), "1", "behind the server, too")
    clearInterval(busy)
    await until("it comes forward", () => text(`${user}/cpu.idle`) === "0")
    assert.equal(text(`${SERVICE}/${OURS}/cpu.idle`), "0")
    await group?.remove()
  }))

test("version 2: who is killed for memory again and again keeps a tenth of a processor, and gets back what was theirs", () =>
  withDouble(async ({ root, text, delegate }) => {
    delegate(SERVICE, ["memory", "cpu"])
    const own = `0::/${SERVICE}\n`
    await using groups = openCgroups({ name: "autonomis-ours", server: SERVER, root, own, lookMs: 5 })
    const group = groups?.create({ id: "agt_1", userId: "usr_1", limits: { ...LIMITS, cpus: 2 } })
    const user = `${SERVICE}/${OURS}/usr_1`
    const [name = ""] = readdirSync(join(root, user)).filter((entry) => entry.startsWith("agt_1."))
    assert.equal(text(`${user}/${name}/cpu.max`), "200000 100000")
    writeFileSync(join(root, user, name, "memory.events"), "max 7\noom_kill 2\n")
    await until("it is restrained", () => text(`${user}/${name}/cpu.max`) === "10000 100000")
    await until("it rests", () => text(`${user}/${name}/cpu.max`) === "200000 100000")
    await group?.remove()
  }))

test("version 2: opened again, it stays where it is; what an earlier server left is swept", () =>
  withDouble(async ({ root, processes, start, delegate }) => {
    delegate(SERVICE, ["memory", "pids"])
    start(SERVICE, "101")
    openCgroups({ name: "autonomis-ours", server: "1.99.3", root, own: `0::/${SERVICE}\n` })?.create(specOf("agt_old"))
    const again = openCgroups({
      name: "autonomis-ours",
      server: SERVER,
      root,
      own: `0::/${SERVICE}/autonomis-server\n`,
    })
    await again?.sweep()
    assert.deepEqual(processes(`${SERVICE}/autonomis-server`), ["101"])
    const folders = (path: string) =>
      readdirSync(join(root, path), { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name)
    assert.deepEqual(folders(SERVICE).sort(), [OURS, "autonomis-server"])
    assert.deepEqual([folders(`${SERVICE}/autonomis-server`), folders(`${SERVICE}/${OURS}`)], [[], []])
  }))

test("version 2: a user's service that was given memory and processes alone limits those, and says so", () =>
  withDouble(async ({ root, text, start, delegate }) => {
    delegate(SERVICE, ["memory", "pids"])
    start(SERVICE, "101")
    rmSync(join(root, SERVICE, "memory.swap.max"))
    const groups = openCgroups({ name: "autonomis-ours", server: SERVER, root, own: `0::/${SERVICE}\n` })
    assert.deepEqual(groups?.holds, ["memory limit", "process limit"])
    groups?.create(specOf("agt_1"))
    const [name = ""] = readdirSync(join(root, SERVICE, OURS, "usr_1")).filter((entry) => entry.startsWith("agt_1."))
    assert.equal(text(`${SERVICE}/${OURS}/usr_1/${name}/pids.max`), "7")
  }))

test("version 2: in a container, whose root is an ordinary group, its processes move too", () =>
  withDouble(async ({ root, processes, start, delegate }) => {
    delegate("docker/abc", ["cpu", "memory", "pids"])
    start("docker/abc", "1")
    const groups = openCgroups({
      name: "autonomis-ours",
      server: SERVER,
      root: join(root, "docker/abc"),
      own: "0::/\n",
    })
    assert.equal(groups?.version, "v2")
    assert.deepEqual(processes("docker/abc/autonomis-server"), ["1"])
  }))

test("version 2: on the machine's own root nobody is moved", () =>
  withDouble(async ({ root, processes, start }) => {
    start("", "1")
    assert.equal(openCgroups({ name: "autonomis-ours", server: SERVER, root, own: "0::/\n" })?.version, "v2")
    assert.deepEqual(processes(""), ["1"])
  }))

test("version 2: without memory to hand on, or with a process that cannot be moved, there are no groups", () =>
  withDouble(async ({ root, start, delegate }) => {
    delegate(SERVICE, ["cpu", "pids"])
    assert.equal(openCgroups({ name: "autonomis-ours", server: SERVER, root, own: `0::/${SERVICE}\n` }), null)
    delegate("other.slice", ["cpu", "memory", "pids"])
    start("other.slice", GONE)
    assert.equal(openCgroups({ name: "autonomis-ours", server: SERVER, root, own: "0::/other.slice\n" }), null)
  }))

test("a user's sandboxes lie in one group, which goes with the last: users share the processor equally", () =>
  withDouble(async ({ root, text, delegate }) => {
    delegate(SERVICE, ["cpu", "memory", "pids"])
    const groups = openCgroups({ name: "autonomis-ours", server: SERVER, root, own: `0::/${SERVICE}\n` })
    const two = [groups?.create(specOf("agt_1", "usr_a")), groups?.create(specOf("agt_2", "usr_a"))]
    groups?.create(specOf("agt_3", "usr_b"))
    const users = () => readdirSync(join(root, SERVICE, OURS)).filter((name) => name.startsWith("usr_"))
    assert.deepEqual(users().sort(), ["usr_a", "usr_b"])
    assert.deepEqual(
      ["usr_a", "usr_b"].map((user) => text(`${SERVICE}/${OURS}/${user}/cpu.weight`)),
      ["100", "100"],
    )
    await two[0]?.remove()
    assert.deepEqual(users().sort(), ["usr_a", "usr_b"])
    await two[1]?.remove()
    assert.deepEqual(users(), ["usr_b"])
  }))

test("groups of servers that have ended are swept whoever they were; those of one that runs, or cannot be seen, stay", () =>
  withDouble(async ({ root, delegate }) => {
    delegate(SERVICE, ["memory", "pids"])
    const child = spawn("/bin/sleep", ["100"])
    const mine = identityOf(process.pid) ?? ""
    const running = identityOf(child.pid ?? 0) ?? ""
    const elsewhere = `1${running}`
    const reused = running.replace(/\d+$/, "1")
    const open = (name: string, server: string) => openCgroups({ name, server, root, own: `0::/${SERVICE}\n` })
    for (const server of [running, elsewhere, reused]) open("autonomis-other", server)?.create(specOf("agt_1"))
    const ours = open("autonomis-ours", mine)
    ours?.create(specOf("agt_2"))
    const left = () => readdirSync(join(root, SERVICE)).filter((name) => name.startsWith("autonomis-o"))
    await ours?.sweep()
    const stay = [`autonomis-other.${running}`, `autonomis-other.${elsewhere}`, `autonomis-ours.${mine}`]
    assert.deepEqual(left().sort(), stay.sort())
    assert.equal(
      readdirSync(join(root, SERVICE, `autonomis-ours.${mine}`, "usr_1")).filter((n) => n.startsWith("agt")).length,
      1,
    )
    child.kill("SIGKILL")
    await once(child, "exit")
    await ours?.sweep()
    assert.ok(!left().includes(`autonomis-other.${running}`))
  }))

test("what a server killed with -9 left is swept by the next one on this host, also of another data folder", async (context) => {
  const name = () => `autonomis-${randomBytes(6).toString("hex")}`
  const next = openCgroups({ name: name() })
  if (next === null) return context.skip("no control groups can be made here")
  const [killed, runs] = [name(), name()]
  const script = `import { openCgroups } from ${JSON.stringify(new URL("cgroups.ts", import.meta.url).href)}
    openCgroups({ name: process.argv[1] }).create(${JSON.stringify(specOf("agt_1"))})
    console.log("made")
    setInterval(() => {}, 1000)`
  const start = async (own: string) => {
    const child = spawn(process.execPath, ["--input-type=module-typescript", "-e", script, own])
    await once(child.stdout, "data")
    return child
  }
  const children = [await start(killed), await start(runs)]
  const left = (own: string) => globSync(`/sys/fs/cgroup/**/${own}.*`).length
  assert.ok(left(killed) > 0 && left(runs) > 0)
  children[0]?.kill("SIGKILL")
  await until("it has ended", () => children[0]?.signalCode === "SIGKILL")
  await next.sweep()
  assert.deepEqual([left(killed), left(runs) > 0], [0, true])
  children[1]?.kill("SIGKILL")
  await until("it has ended", () => children[1]?.signalCode === "SIGKILL")
  await next.sweep()
  assert.equal(left(runs), 0)
  await next[Symbol.asyncDispose]()
})

/** Runs in a group from its first moment on. */
function spawnIn(group: Cgroup, command: string[]): ChildProcess {
  const fds = group.openProcs()
  const enter = fds.map((_, n) => `echo 0 >&${n + 3}`).join("; ")
  const script = `${enter}; exec "$@"`
  const child = spawn("/bin/sh", ["-c", script, "sh", ...command], { stdio: ["ignore", "ignore", "inherit", ...fds] })
  closeAll(fds)
  return child
}

const WIDE = { memoryBytes: 64 << 20, cpus: 0.5, pids: 10, storageBytes: null }
/** Of the kernel's files for the groups of one server, in whichever tree they are. */
const filesOf = (name: string, path: string) => globSync(`/sys/fs/cgroup/**/${name}.*/${path}`)
const is = (path: string, text: string) => readFileSync(path, "utf8").trim() === text

test("a real sandbox that keeps the processor busy goes behind everybody else until it rests, and is told from one that rests", async (context) => {
  const name = `autonomis-${randomBytes(6).toString("hex")}`
  const groups = openCgroups({ name, lookMs: 500 })
  if (groups === null || !groups.holds.includes("cpu limit")) return context.skip("no processor can be limited here")
  const commands = { usr_busy: "1 while 1", usr_resting: "sleep 60" }
  const open = Object.entries(commands).map(([userId, command]) => {
    const group = groups.create({ id: "agt_1", userId, limits: WIDE })
    return { group, child: spawnIn(group, ["perl", "-e", command]) }
  })
  const [idle] = filesOf(name, "usr_busy/cpu.idle")
  try {
    if (idle === undefined) return context.skip("this kernel has no such rank")
    const resting = idle.replace("busy", "resting")
    // On a slow machine the beginning of one that rests is work, too.
    await until("it goes behind", () => is(idle, "1") && is(resting, "0"))
    open[0]?.child.kill("SIGSTOP")
    await until("it comes forward", () => is(idle, "0"))
  } finally {
    for (const { child } of open) child.kill("SIGKILL")
    for (const { group } of open) await group.remove()
    await groups[Symbol.asyncDispose]()
  }
})

test("a real sandbox that is killed for memory again and again keeps a tenth of a processor, and gets back what was its own", async (context) => {
  const name = `autonomis-${randomBytes(6).toString("hex")}`
  const groups = openCgroups({ name, lookMs: 200 })
  if (groups === null || !groups.holds.includes("cpu limit")) return context.skip("no processor can be limited here")
  const group = groups.create({ id: "agt_1", userId: "usr_1", limits: { ...WIDE, memoryBytes: 24 << 20 } })
  const bomb = `perl -e '$x = "x" x (1 << 27)'`
  const child = spawnIn(group, ["/bin/bash", "-c", `for i in 1 2 3; do ${bomb}; done 2> /dev/null; exec sleep 60`])
  try {
    const [quota = ""] = [...filesOf(name, "usr_1/*/cpu.max"), ...filesOf(name, "usr_1/*/cpu.cfs_quota_us")]
    const share = (cpus: number) => () => Number.parseInt(readFileSync(quota, "utf8"), 10) === cpus * 100_000
    assert.ok(share(0.5)())
    await until("it is restrained", share(RESTRAINED_CPUS))
    await until("all were killed", () => group.hits().memory === 3)
    await until("it rests", share(0.5))
    assert.equal(child.exitCode, null, "the shell lives on")
  } finally {
    child.kill("SIGKILL")
    await group.remove()
    await groups[Symbol.asyncDispose]()
  }
})

test("a user with four busy sandboxes gets no more of a contended processor than another with one", async (context) => {
  const groups = openCgroups({ name: `autonomis-${randomBytes(6).toString("hex")}` })
  if (groups === null || !groups.holds.includes("cpu limit")) return context.skip("no processor can be limited here")
  const busy = ["usr_a", "usr_a", "usr_a", "usr_a", "usr_b"].map((userId, i) => {
    const group = groups.create({ id: `agt_${i}`, userId, limits: { ...WIDE, cpus: 1 } })
    return { userId, group, child: spawnIn(group, ["taskset", "-c", "0", "perl", "-e", "1 while 1"]) }
  })
  const spent = (user: string) =>
    busy.reduce((sum, { userId, child }) => (userId === user ? sum + ticksOf(child.pid ?? 0) : sum), 0)
  await until("enough was spent", () => spent("usr_a") + spent("usr_b") > 200, 60_000)
  const [a, b] = [spent("usr_a"), spent("usr_b")]
  for (const { child } of busy) child.kill("SIGKILL")
  for (const { group } of busy) await group.remove()
  await groups[Symbol.asyncDispose]()
  assert.ok(b > 0.5 * a, `a user with one sandbox got ${b}, another with four ${a}`)
})

/** Of the processor, in hundredths of a second. */
function ticksOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[11])
}
