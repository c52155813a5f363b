import assert from "node:assert/strict"
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { temporaryFolder, until } from "../testing.ts"
import { type Cgroup2Double, cgroup2Double, GONE } from "./cgroup2-double.ts"
import { openCgroups } from "./cgroups.ts"

const LIMITS = { memoryBytes: 1000, cpus: 0.5, pids: 7, storageBytes: null }
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
    const groups = openCgroups({ name: "ours", root, own: `0::/${SERVICE}\n` })
    assert.deepEqual([groups?.version, groups?.holds], ["v2", ["cpu limit", "memory limit", "process limit"]])
    assert.deepEqual(processes(`${SERVICE}/autonomis-server`), ["101", "102"])
    const group = groups?.create("agt_1", LIMITS)
    const [name = ""] = readdirSync(join(root, SERVICE, "ours")).filter((entry) => entry.startsWith("agt_1."))
    const at = `${SERVICE}/ours/${name}`
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

test("version 2: opened again, it stays where it is; what an earlier server left is swept", () =>
  withDouble(async ({ root, processes, start, delegate }) => {
    delegate(SERVICE, ["memory", "pids"])
    start(SERVICE, "101")
    openCgroups({ name: "ours", root, own: `0::/${SERVICE}\n` })?.create("agt_old", LIMITS)
    const again = openCgroups({ name: "ours", root, own: `0::/${SERVICE}/autonomis-server\n` })
    await again?.sweep()
    assert.deepEqual(processes(`${SERVICE}/autonomis-server`), ["101"])
    const folders = (path: string) =>
      readdirSync(join(root, path), { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name)
    assert.deepEqual(folders(SERVICE).sort(), ["autonomis-server", "ours"])
    assert.deepEqual([folders(`${SERVICE}/autonomis-server`), folders(`${SERVICE}/ours`)], [[], []])
  }))

test("version 2: a user's service that was given memory and processes alone limits those, and says so", () =>
  withDouble(async ({ root, text, start, delegate }) => {
    delegate(SERVICE, ["memory", "pids"])
    start(SERVICE, "101")
    rmSync(join(root, SERVICE, "memory.swap.max"))
    const groups = openCgroups({ name: "ours", root, own: `0::/${SERVICE}\n` })
    assert.deepEqual(groups?.holds, ["memory limit", "process limit"])
    groups?.create("agt_1", LIMITS)
    const [name = ""] = readdirSync(join(root, SERVICE, "ours")).filter((entry) => entry.startsWith("agt_1."))
    assert.equal(text(`${SERVICE}/ours/${name}/pids.max`), "7")
  }))

test("version 2: in a container, whose root is an ordinary group, its processes move too", () =>
  withDouble(async ({ root, processes, start, delegate }) => {
    delegate("docker/abc", ["cpu", "memory", "pids"])
    start("docker/abc", "1")
    const groups = openCgroups({ name: "ours", root: join(root, "docker/abc"), own: "0::/\n" })
    assert.equal(groups?.version, "v2")
    assert.deepEqual(processes("docker/abc/autonomis-server"), ["1"])
  }))

test("version 2: on the machine's own root nobody is moved", () =>
  withDouble(async ({ root, processes, start }) => {
    start("", "1")
    assert.equal(openCgroups({ name: "ours", root, own: "0::/\n" })?.version, "v2")
    assert.deepEqual(processes(""), ["1"])
  }))

test("version 2: without memory to hand on, or with a process that cannot be moved, there are no groups", () =>
  withDouble(async ({ root, start, delegate }) => {
    delegate(SERVICE, ["cpu", "pids"])
    assert.equal(openCgroups({ name: "ours", root, own: `0::/${SERVICE}\n` }), null)
    delegate("other.slice", ["cpu", "memory", "pids"])
    start("other.slice", GONE)
    assert.equal(openCgroups({ name: "ours", root, own: "0::/other.slice\n" }), null)
  }))
