import fs from "node:fs"
import { syncBuiltinESMExports } from "node:module"
import { basename, dirname, join } from "node:path"

export interface Cgroup2Double extends Disposable {
  processes(group: string): string[]
  /** A process is born there, or ends there. */
  start(group: string, pid: string): void
  end(group: string, pid: string): void
}

/**
 * For tests on machines whose controllers are taken by version 1: a folder that follows the kernel's rules for control
 * groups of version 2. Files come with a group, by the controllers that its parent hands on; a group that hands
 * controllers on holds no process; a group with processes or groups in it cannot be removed. Undone when disposed.
 */
export function cgroup2Double(root: string, controllers: string[]): Cgroup2Double {
  const real = { mkdirSync: fs.mkdirSync, rmdirSync: fs.rmdirSync, writeFileSync: fs.writeFileSync }
  const isOurs = (path: unknown): path is string => typeof path === "string" && path.startsWith(root)
  const text = (path: string) => (fs.existsSync(path) ? fs.readFileSync(path, "utf8") : "")
  const words = (path: string) => text(path).split(/\s+/).filter(Boolean)
  const refusal = (code: string) => Object.assign(new Error(code), { code })

  function addFiles(group: string, some: string[]): void {
    for (const controller of some)
      for (const [name, value] of Object.entries(FILES[controller] ?? {})) real.writeFileSync(join(group, name), value)
  }

  function populate(group: string): void {
    const handedOn = words(join(dirname(group), "cgroup.subtree_control"))
    real.writeFileSync(join(group, "cgroup.controllers"), handedOn.join(" "))
    real.writeFileSync(join(group, "cgroup.type"), "domain\n")
    for (const name of ["cgroup.procs", "cgroup.subtree_control"]) real.writeFileSync(join(group, name), "")
    addFiles(group, handedOn)
  }

  function handOn(group: string, value: string): void {
    const wanted = value.split(" ").map((one) => one.replace("+", ""))
    if (wanted.some((one) => !words(join(group, "cgroup.controllers")).includes(one))) throw refusal("ENOENT")
    if (group !== root && words(join(group, "cgroup.procs")).length > 0) throw refusal("EBUSY")
    const handedOn = [...new Set([...words(join(group, "cgroup.subtree_control")), ...wanted])].join(" ")
    real.writeFileSync(join(group, "cgroup.subtree_control"), handedOn)
    for (const entry of fs.readdirSync(group, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue
      real.writeFileSync(join(group, entry.name, "cgroup.controllers"), handedOn)
      addFiles(join(group, entry.name), wanted)
    }
  }

  function move(group: string, pid: string): void {
    if (group !== root && words(join(group, "cgroup.subtree_control")).length > 0) throw refusal("EBUSY")
    const from = [root, ...fs.readdirSync(root, { recursive: true, encoding: "utf8" }).map((name) => join(root, name))]
      .filter((path) => basename(path) === "cgroup.procs")
      .find((path) => words(path).includes(pid))
    if (from === undefined || pid === GONE) throw refusal("ESRCH")
    real.writeFileSync(
      from,
      words(from)
        .filter((one) => one !== pid)
        .join("\n"),
    )
    real.writeFileSync(join(group, "cgroup.procs"), [...words(join(group, "cgroup.procs")), pid].join("\n"))
  }

  Object.assign(fs, {
    mkdirSync(path: string, options?: fs.MakeDirectoryOptions) {
      const isNew = !fs.existsSync(path)
      const made = real.mkdirSync(path, options)
      if (isOurs(path) && isNew) populate(path)
      return made
    },
    rmdirSync(path: string) {
      if (!isOurs(path)) return real.rmdirSync(path)
      const entries = fs.readdirSync(path, { withFileTypes: true })
      if (entries.some((entry) => entry.isDirectory()) || words(join(path, "cgroup.procs")).length > 0)
        throw refusal("EBUSY")
      fs.rmSync(path, { recursive: true })
    },
    writeFileSync(path: string, value: string) {
      if (!isOurs(path)) return real.writeFileSync(path, value)
      if (!fs.existsSync(path)) throw refusal("EACCES")
      if (basename(path) === "cgroup.subtree_control") handOn(dirname(path), value)
      else if (basename(path) === "cgroup.procs") move(dirname(path), value)
      else real.writeFileSync(path, value)
    },
  })
  syncBuiltinESMExports()
  // The machine's own root, with the processes that nobody has moved.
  real.writeFileSync(join(root, "cgroup.controllers"), controllers.join(" "))
  for (const name of ["cgroup.procs", "cgroup.subtree_control"]) real.writeFileSync(join(root, name), "")
  return {
    processes: (group) => words(join(root, group, "cgroup.procs")),
    start(group, pid) {
      const path = join(root, group, "cgroup.procs")
      real.writeFileSync(path, [...words(path), pid].join("\n"))
    },
    end(group, pid) {
      const path = join(root, group, "cgroup.procs")
      real.writeFileSync(
        path,
        words(path)
          .filter((one) => one !== pid)
          .join("\n"),
      )
    },
    [Symbol.dispose]() {
      Object.assign(fs, real)
      syncBuiltinESMExports()
    },
  }
}

/** A process that ends before it can be moved. */
export const GONE = "4194304"

const FILES: Record<string, Record<string, string>> = {
  memory: { "memory.max": "max", "memory.swap.max": "max", "memory.events": "low 0\nmax 0\noom 0\noom_kill 0\n" },
  io: { "io.max": "" },
  pids: { "pids.max": "max", "pids.events": "max 0\n" },
  cpu: { "cpu.max": "max 100000", "cpu.weight": "100", "cpu.idle": "0", "cpu.stat": "nr_periods 0\n" },
}
