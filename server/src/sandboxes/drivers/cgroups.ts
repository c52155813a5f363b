import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  writeFileSync,
} from "node:fs"
import { basename, dirname, join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import type { LimitHits, SandboxSpec } from "../driver.ts"
import { createRestraint, RESTRAINED_CPUS, type Restrained } from "./restraint.ts"
import { type Busy, createStepBack } from "./step-back.ts"

/** Limits by control groups, where this process may make some. */
export interface Cgroups {
  version: "v1" | "v2"
  /** What they hold here: `memory limit`, `process limit`, `cpu limit`. */
  holds: string[]
  /** Below a group of the user's: those share the processor equally, however many sandboxes each of them has busy. */
  create(spec: Pick<SandboxSpec, "id" | "userId" | "limits">): Cgroup
  /**
   * How many bytes a second may be read from and written to a disk that sandboxes alone use (`7:0`); null: any number.
   * Nothing happens where the kernel or the host gives no means.
   */
  paceDisk(device: string, bytesPerSecond: number | null): void
  /**
   * Removes what servers that crashed left: all that had this name before, and any other whose process is gone. What
   * still runs in their groups is killed.
   */
  sweep(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface Cgroup {
  /** Opened for a process to move itself there by writing `0`; the caller closes them. */
  openProcs(): number[]
  hits(): LimitHits
  /** Of `holds` those whose group has processes in it and a limit set. */
  inForce(): string[]
  /** Once nothing runs in it any more. */
  remove(): Promise<void>
}

const HOLDS: Record<string, string> = { memory: "memory limit", pids: "process limit", cpu: "cpu limit" }
const CPU_PERIOD_US = 100_000

export interface CgroupOptions {
  /** Tells this server's groups from another's on the same host; the same at each of its starts. */
  name: string
  /** The process that has them, for tests. */
  server?: string
  /** The tree, for tests; `/sys/fs/cgroup`. */
  root?: string
  /** `/proc/self/cgroup`. */
  own?: string
  /** How often is looked who keeps the processor busy, and who is killed for memory, for tests. */
  lookMs?: number | undefined
}

/** Null where no control group can be made. */
export function openCgroups(options: CgroupOptions): Cgroups | null {
  const { name, root = "/sys/fs/cgroup", own, server = identityOf(process.pid) ?? "" } = options
  const membership = own ?? read("/proc/self/cgroup") ?? ""
  const folder = `${name}.${server}`
  return openV2(folder, root, membership, options) ?? openV1(folder, root, membership, options)
}

const FOLDER = /^(autonomis-[^.]+)\.(?<server>\d+\.(?<pid>\d+)\.\d+)$/

/** Of a process, which no later one has: its namespace, its number there, and when it began. */
export function identityOf(pid: number): string | null {
  try {
    const namespace = /\d+/.exec(readlinkSync(`/proc/${pid}/ns/pid`))?.[0]
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
    const [state, began] = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .filter((_, i) => i === 0 || i === 19)
    return state === "Z" ? null : `${namespace}.${pid}.${began}`
  } catch {
    return null
  }
}

/** Of the groups beside ours: was it another start of this server, or has its process ended? */
function isLeft(folder: string, own: string): boolean {
  const name = own.slice(0, own.indexOf("."))
  if (folder === own || !folder.startsWith("autonomis-")) return false
  if (folder === name || folder.startsWith(`${name}.`)) return true
  const { server, pid } = FOLDER.exec(folder)?.groups ?? {}
  // Processes of another namespace cannot be seen from here.
  if (server === undefined || server.split(".")[0] !== own.split(".")[1]) return false
  return identityOf(Number(pid)) !== server
}

/** One tree. A group that hands controllers on holds no process itself, so those of ours move to a leaf first. */
function openV2(name: string, root: string, membership: string, { lookMs }: CgroupOptions): Cgroups | null {
  const found = /^0::(.*)$/m.exec(membership)?.[1]
  if (found === undefined) return null
  // Where an earlier opening has moved us to.
  const here = join(root, basename(found) === OWN_LEAF ? dirname(found) : found)
  // Those that were handed on to us, which may be fewer than the machine's.
  const given = (read(join(here, "cgroup.controllers")) ?? "").split(/\s+/)
  const controllers = given.filter((one) => one in HOLDS)
  if (!controllers.includes("memory")) return null
  const base = join(here, name)
  try {
    // Only the machine's own root is without a type, and may hold both; a container's root is an ordinary group.
    if (existsSync(join(here, "cgroup.type"))) moveToLeaf(here)
    const enable = controllers.map((one) => `+${one}`).join(" ")
    writeFileSync(join(here, "cgroup.subtree_control"), enable)
    if (given.includes("io")) tryPut(here, "cgroup.subtree_control", "+io")
    mkdirSync(base, { recursive: true })
    writeFileSync(join(base, "cgroup.subtree_control"), enable)
  } catch {
    return null
  }
  const handOn = (dir: string) =>
    writeFileSync(join(dir, "cgroup.subtree_control"), controllers.map((one) => `+${one}`).join(" "))
  const paceDisk: Cgroups["paceDisk"] = (device, bytesPerSecond) =>
    tryPut(base, "io.max", `${device} rbps=${bytesPerSecond ?? "max"} wbps=${bytesPerSecond ?? "max"}`)
  const ofCpus: Tree["ofCpus"] = (cpus) => ({ "cpu.max": `${Math.round(cpus * CPU_PERIOD_US)} ${CPU_PERIOD_US}` })
  return make(
    { version: "v2", controllers, bases: [base], handOn, paceDisk, ofCpus, lookMs },
    ([dir = base], limits) => {
      put(dir, "memory.max", limits.memoryBytes)
      tryPut(dir, "memory.swap.max", 0)
      if (controllers.includes("pids")) put(dir, "pids.max", limits.pids)
    },
  )
}

const OWN_LEAF = "autonomis-server"

function moveToLeaf(here: string): void {
  mkdirSync(join(here, OWN_LEAF), { recursive: true })
  for (const pid of (read(join(here, "cgroup.procs")) ?? "").split("\n").filter(Boolean)) {
    // One that has ended meanwhile is not in the way; one that stays makes the next step fail.
    tryPut(join(here, OWN_LEAF), "cgroup.procs", pid)
  }
}

/** A tree for each controller; those we may write in are used. */
function openV1(name: string, root: string, membership: string, { lookMs }: CgroupOptions): Cgroups | null {
  const found = Object.keys(HOLDS).flatMap((controller) => {
    const path = new RegExp(`^\\d+:(?:[^:]*,)?${controller}(?:,[^:]*)?:(.*)$`, "m").exec(membership)?.[1]
    if (path === undefined) return []
    // In a container the path may be the host's, of which only the last part is mounted.
    const here = existsSync(join(root, controller, path)) ? join(root, controller, path) : join(root, controller)
    try {
      mkdirSync(join(here, name), { recursive: true })
      return existsSync(join(here, name, "cgroup.procs")) ? [{ controller, base: join(here, name) }] : []
    } catch {
      return []
    }
  })
  if (!found.some(({ controller }) => controller === "memory")) return null
  const controllers = found.map(({ controller }) => controller)
  const bases = found.map(({ base }) => base)
  // What the kernel writes later than it was asked to counts as the root's in this version.
  const paceDisk: Cgroups["paceDisk"] = (device, bytesPerSecond) => {
    for (const way of ["read", "write"])
      tryPut(join(root, "blkio"), `blkio.throttle.${way}_bps_device`, `${device} ${bytesPerSecond ?? 0}`)
  }
  const ofCpus: Tree["ofCpus"] = (cpus) => ({
    "cpu.cfs_period_us": CPU_PERIOD_US,
    "cpu.cfs_quota_us": Math.round(cpus * CPU_PERIOD_US),
  })
  return make({ version: "v1", controllers, bases, handOn: () => {}, paceDisk, ofCpus, lookMs }, (dirs, limits) => {
    const dirOf = (controller: string) => dirs[controllers.indexOf(controller)]
    put(dirOf("memory"), "memory.limit_in_bytes", limits.memoryBytes)
    tryPut(dirOf("memory"), "memory.memsw.limit_in_bytes", limits.memoryBytes)
    if (controllers.includes("pids")) put(dirOf("pids"), "pids.max", limits.pids)
  })
}

/** Behind whoever wants the processor, which then is theirs as far as nobody does; or beside them. */
export function setBehind(group: string, version: Cgroups["version"], back: boolean): void {
  if (existsSync(join(group, "cpu.idle"))) tryPut(group, "cpu.idle", back ? 1 : 0)
  else if (version === "v2") tryPut(group, "cpu.weight", back ? 1 : 100)
  else tryPut(group, "cpu.shares", back ? 2 : 1024)
}

interface Tree extends Pick<Cgroups, "version" | "paceDisk">, Pick<CgroupOptions, "lookMs"> {
  controllers: string[]
  bases: string[]
  /** Lets the groups below this one have limits of their own. */
  handOn(group: string): void
  /** What to write to give a group so much of the processor, by file. */
  ofCpus(cpus: number): Record<string, string | number>
}

function make(
  { version, controllers, bases, handOn, paceDisk, ofCpus, lookMs }: Tree,
  limit: (dirs: string[], limits: SandboxSpec["limits"]) => void,
): Cgroups {
  let made = 0
  const cpuAt = controllers.indexOf("cpu")
  const cpuOf = (dirs: string[]) => dirs[cpuAt] ?? dirs[0] ?? ""
  const behind = new Set<string>()
  const stepBack = createStepBack({
    step(userId, back) {
      if (back) behind.add(userId)
      else behind.delete(userId)
      setBehind(cpuOf(bases.map((base) => join(base, userId))), version, back)
      // Beside the server all users are one: it goes before them while one of them would not let it.
      setBehind(cpuOf(bases), version, behind.size > 0)
    },
    lookMs,
  })
  const restraint = createRestraint(lookMs)
  function watchProcessor(userId: string, dirs: string[], cpus: number): (() => void)[] {
    const group = cpuOf(dirs)
    for (const [file, value] of Object.entries(ofCpus(cpus))) put(group, file, value)
    const restrain = (on: boolean) => {
      const now = ofCpus(on ? Math.min(cpus, RESTRAINED_CPUS) : cpus)
      for (const [file, value] of Object.entries(now)) tryPut(group, file, value)
    }
    return [
      stepBack.watch({ userId, periods: () => counter(group, "cpu.stat", "nr_periods") }),
      restraint.watch({ kills: () => ownKillsOf(dirs), restrain }),
    ]
  }
  return {
    version,
    paceDisk,
    holds: controllers.flatMap((controller) => HOLDS[controller] ?? []),
    create({ id, userId, limits }) {
      const parents = bases.map((base) => join(base, userId))
      for (const parent of parents) {
        if (!existsSync(parent)) mkdirSync(parent)
        handOn(parent)
      }
      // An own one for each opening: the last one may still be emptying.
      const dirs = parents.map((parent) => join(parent, `${id}.${process.pid}.${made}`))
      made++
      for (const dir of dirs) mkdirSync(dir)
      limit(dirs, limits)
      const unwatch = cpuAt < 0 ? [] : watchProcessor(userId, dirs, limits.cpus)
      return {
        openProcs: () => dirs.map((dir) => openSync(join(dir, "cgroup.procs"), "w")),
        hits: () => hitsOf(dirs),
        inForce: () =>
          controllers.flatMap((controller, i) =>
            isInForce(dirs[i] ?? dirs[0], controller) ? (HOLDS[controller] ?? []) : [],
          ),
        async remove() {
          for (const end of unwatch) end()
          await removeAll(dirs)
          for (const parent of parents) if (children(parent).length === 0) removeEmpty(parent)
        },
      }
    },
    async sweep() {
      for (const base of bases) {
        const left = children(dirname(base)).filter((dir) => isLeft(basename(dir), basename(base)))
        for (const dir of left) await removeTree(dir)
      }
    },
    async [Symbol.asyncDispose]() {
      stepBack[Symbol.dispose]()
      restraint[Symbol.dispose]()
      for (const base of bases) await removeTree(base)
    },
  }
}

/** The groups that somebody else put a process into. */
export function groupsOf(
  pid: number,
  root = "/sys/fs/cgroup",
): Pick<Cgroup, "hits" | "inForce"> & Pick<Busy, "periods"> & Pick<Restrained, "kills"> {
  const found = Object.keys(HOLDS).flatMap((controller) => {
    const membership = read(`/proc/${pid}/cgroup`) ?? ""
    const v1 = new RegExp(`^\\d+:(?:[^:]*,)?${controller}(?:,[^:]*)?:(.*)$`, "m").exec(membership)?.[1]
    const v2 = /^0::(.*)$/m.exec(membership)?.[1]
    if (v1 !== undefined) return [{ controller, dir: join(root, controller, v1) }]
    return v2 === undefined ? [] : [{ controller, dir: join(root, v2) }]
  })
  const cpu = found.find(({ controller }) => controller === "cpu")?.dir ?? ""
  const dirs = [...new Set(found.map(({ dir }) => dir))]
  return {
    kills: () => ownKillsOf(dirs),
    periods: () => counter(cpu, "cpu.stat", "nr_periods"),
    hits: () => hitsOf(dirs),
    inForce: () =>
      found.flatMap(({ controller, dir }) => (isInForce(dir, controller) ? (HOLDS[controller] ?? []) : [])),
  }
}

function children(base: string): string[] {
  try {
    const entries = readdirSync(base, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map((entry) => join(base, entry.name))
  } catch {
    // Gone: another of this name has ended, or another server sweeps too.
    return []
  }
}

function hitsOf(dirs: string[]): LimitHits {
  const hits = { memory: 0, pids: 0 }
  for (const dir of dirs) {
    hits.memory += counter(dir, "memory.events", "oom_kill") + counter(dir, "memory.oom_control", "oom_kill")
    hits.pids += counter(dir, "pids.events", "max")
  }
  return hits
}

/** Kills of who ran into the own limit; others may be for a limit above, or for the whole machine's memory. */
function ownKillsOf(dirs: string[]): number {
  const bytes = (dir: string, file: string) => Number(read(join(dir, file)) ?? Number.NaN)
  // Newer kernels count no failures in version 1.
  const hasMet = (dir: string) =>
    counter(dir, "memory.events", "max") > 0 ||
    bytes(dir, "memory.max_usage_in_bytes") > 0.95 * bytes(dir, "memory.limit_in_bytes")
  return dirs.some(hasMet) ? hitsOf(dirs).memory : 0
}

const LIMIT_FILES: Record<string, string[]> = {
  memory: ["memory.max", "memory.limit_in_bytes"],
  pids: ["pids.max"],
  cpu: ["cpu.max", "cpu.cfs_quota_us"],
}

function isInForce(dir: string | undefined, controller: string): boolean {
  if (dir === undefined || (read(join(dir, "cgroup.procs")) ?? "").trim() === "") return false
  // Version 1 says that there is no limit by a number that no machine has.
  const isLimit = (text: string) => /^\d/.test(text) && Number.parseInt(text, 10) < 2 ** 60
  return (LIMIT_FILES[controller] ?? []).some((file) => isLimit(read(join(dir, file)) ?? ""))
}

function counter(dir: string, file: string, key: string): number {
  return Number(new RegExp(`^${key} (\\d+)$`, "m").exec(read(join(dir, file)) ?? "")?.[1] ?? 0)
}

async function removeTree(dir: string): Promise<void> {
  for (const child of children(dir)) await removeTree(child)
  await removeAll([dir])
}

function removeEmpty(dir: string): void {
  try {
    rmdirSync(dir)
  } catch {
    // Another has gone before.
  }
}

/** The last process takes a moment to leave; whoever stays is killed. */
async function removeAll(dirs: string[]): Promise<void> {
  for (const dir of dirs) {
    for (let waitMs = 1; existsSync(dir) && waitMs < 2_000; waitMs *= 2) {
      try {
        rmdirSync(dir)
      } catch {
        if (waitMs > 50) killAll(dir)
        await delay(waitMs)
      }
    }
  }
}

function killAll(dir: string): void {
  for (const pid of (read(join(dir, "cgroup.procs")) ?? "").split("\n").map(Number)) {
    if (pid <= 1 || pid === process.pid) continue
    try {
      process.kill(pid, "SIGKILL")
    } catch {
      // Gone.
    }
  }
}

function put(dir: string | undefined, file: string, value: string | number): void {
  if (dir !== undefined) writeFileSync(join(dir, file), String(value))
}

function tryPut(dir: string | undefined, file: string, value: string | number): void {
  try {
    put(dir, file, value)
  } catch {
    // Not every kernel counts swap or paces disks; and a group may be gone.
  }
}

function read(path: string): string | null {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return null
  }
}

export function closeAll(fds: number[]): void {
  for (const fd of fds) closeSync(fd)
}
