import { execFile } from "node:child_process"
import { accessSync, constants, existsSync, readdirSync, rmdirSync } from "node:fs"
import { basename, join } from "node:path"
import { promisify } from "node:util"
import type { Logger } from "../../../lib/log.ts"
import { groupsOf, setBehind } from "../cgroups.ts"
import { createRestraint, RESTRAINED_CPUS } from "../restraint.ts"
import { createStepBack } from "../step-back.ts"
import { nanoCpus } from "./container.ts"
import type { Containers } from "./containers.ts"

/**
 * Lets users share the processor equally, sends those who keep it busy behind everybody else, and restrains containers
 * whose processes are killed for memory again and again.
 */
export interface UserGroups extends Disposable {
  /** Tells by what the daemon makes control groups, from its `GET /info`. Until then, and where this process may not
   * write control groups, containers lie in the daemon's own. */
  setDaemon(info: { CgroupDriver?: string | undefined; CgroupVersion?: string | undefined }): void
  /** A user's group, as the daemon is asked for it; null: its containers lie beside all others. */
  parentOf(userId: string): string | null
  /** Before a container of the user's is made: keeps their group until it is left. */
  enter(userId: string): Promise<Member>
  /** Also those that servers which crashed left. */
  removeEmpty(): Promise<void>
}

export interface Member {
  /** From now on, until it is left. */
  watch(container: Watched): void
  /** Once the container is gone; again is fine. */
  leave(): Promise<void>
}

export interface Watched {
  id: string
  pid: number
  /** Its limit. */
  cpus: number
  /** An earlier server may have sent it behind or restrained it. */
  adopted: boolean
}

export interface UserGroupsOptions {
  containers: Pick<Containers, "update">
  instance: string
  log: Logger
  /** `/sys/fs/cgroup`. */
  root: string
  /** How often is looked, for tests. */
  lookMs?: number | undefined
}

interface Place {
  systemd: boolean
  version: "v1" | "v2"
  /** The trees: version 1 has one for each controller. */
  roots: string[]
  cpuRoot: string
  /** Of all users' groups, in each tree. */
  base: string
}

const run = promisify(execFile)
const IN_FRONT = 1024
const BEHIND = 2
const TELL_AGAIN_MS = 5000

type Change = Parameters<Containers["update"]>[1]

/**
 * Where this process may write among the host's control groups, the daemon is asked to put each user's containers into one
 * group, which is sent behind as bubblewrap's is. Elsewhere it is asked to give each container of the user's the smallest
 * weight, which it can do for nothing but containers.
 */
export function createUserGroups({ containers, instance, log, root, lookMs }: UserGroupsOptions): UserGroups {
  const name = `autonomis_${instance}`
  let place: Place | null = null
  /** How many containers each user's group is kept for. */
  const held = new Map<string, number>()
  const open = new Map<string, Set<string>>()
  const behind = new Set<string>()
  /** What each open container is to have by the daemon's own means, and of which it was not told yet. */
  const wanted = new Map<string, Change>()
  const untold = new Set<string>()
  let isTelling = false
  /** One after the other, and no group is entered while it is taken away. */
  let removing = Promise.resolve()
  const stepBack = createStepBack({
    step(userId, back) {
      if (back) behind.add(userId)
      else behind.delete(userId)
      apply(userId)
    },
    lookMs,
  })

  const restraint = createRestraint(lookMs)

  /** As systemd nests its slices by their names; a dash would be one more. */
  const groupOf = (userId: string) => (place?.systemd ? `${name}-${userId.replaceAll("-", "_")}.slice` : userId)

  function apply(userId: string): void {
    const back = behind.has(userId)
    if (place !== null) {
      const { cpuRoot, base, version } = place
      setBehind(join(cpuRoot, base, groupOf(userId)), version, back)
      // Beside the server all users are one: it goes before them while one of them would not let it.
      setBehind(join(cpuRoot, base), version, behind.size > 0)
      return
    }
    for (const id of open.get(userId) ?? []) update(id, { CpuShares: back ? BEHIND : IN_FRONT })
  }

  /** The last word on a container counts; a daemon that did not take it is told again while the container is open. */
  function update(id: string, change: Change): void {
    wanted.set(id, { ...wanted.get(id), ...change })
    tell(id)
  }

  function tell(id: string): void {
    untold.add(id)
    if (!isTelling) void tellAll()
  }

  async function tellAll(): Promise<void> {
    isTelling = true
    for (const id of untold) {
      untold.delete(id)
      const change = wanted.get(id)
      if (change === undefined) continue
      try {
        await containers.update(id, change)
      } catch (error) {
        if (!wanted.has(id)) continue
        log.warn("a container could not be given another part of the processor", { error })
        setTimeout(() => tell(id), TELL_AGAIN_MS).unref()
      }
    }
    isTelling = false
  }

  function placeOf(driver: string | undefined, version: string | undefined): Place | null {
    const isV2 = version === "2"
    const cpuRoot = isV2 ? root : join(root, "cpu")
    if (driver !== "cgroupfs" && driver !== "systemd") return null
    try {
      accessSync(cpuRoot, constants.W_OK)
    } catch {
      return null
    }
    return {
      systemd: driver === "systemd",
      version: isV2 ? "v2" : "v1",
      roots: isV2 ? [root] : below(root).map((tree) => join(root, tree)),
      cpuRoot,
      base: driver === "systemd" ? `${name}.slice` : name,
    }
  }

  async function removeUnheld(): Promise<void> {
    if (place === null) return
    const { roots, base } = place
    const groups = new Set(roots.flatMap((tree) => below(join(tree, base))))
    const kept = new Set([...held.keys()].map(groupOf))
    for (const group of groups.difference(kept)) await remove(place, join(base, group))
    if (held.size === 0) await remove(place, base)
  }

  async function remove({ systemd, roots }: Place, group: string): Promise<void> {
    const dirs = roots.map((tree) => join(tree, group)).filter((dir) => existsSync(dir))
    if (dirs.length === 0 || dirs.some((dir) => below(dir).length > 0)) return
    // It would go on believing in a slice whose group is gone.
    if (systemd)
      await run("systemctl", ["stop", basename(group)], { timeout: 5_000 }).catch((error) =>
        log.debug("a slice could not be stopped", { error }),
      )
    for (const dir of dirs) {
      try {
        rmdirSync(dir)
      } catch {
        // Gone already; or not empty, and somebody's.
      }
    }
  }

  async function removeEmpty(): Promise<void> {
    removing = removing.then(removeUnheld).catch((error) => log.warn("control groups could not be removed", { error }))
    await removing
  }

  return {
    setDaemon({ CgroupDriver, CgroupVersion }) {
      place = placeOf(CgroupDriver, CgroupVersion)
    },
    parentOf(userId) {
      if (place === null) return null
      return place.systemd ? groupOf(userId) : `/${join(place.base, groupOf(userId))}`
    },
    async enter(userId) {
      held.set(userId, (held.get(userId) ?? 0) + 1)
      await removing
      let unwatch = () => {}
      let left = false
      return {
        watch({ id, pid, cpus, adopted }) {
          const theirs = open.get(userId) ?? new Set()
          open.set(userId, theirs.add(id))
          const { periods, kills } = groupsOf(pid)
          const restrain = (on: boolean) =>
            update(id, { NanoCpus: nanoCpus(on ? Math.min(cpus, RESTRAINED_CPUS) : cpus) })
          const ends = [stepBack.watch({ userId, periods }), restraint.watch({ kills, restrain })]
          unwatch = () => {
            theirs.delete(id)
            wanted.delete(id)
            if (theirs.size === 0) open.delete(userId)
            for (const end of ends) end()
          }
          // What an earlier server set is undone; the daemon is not asked for what is so anyway.
          if (adopted) restrain(false)
          if (place !== null || adopted || behind.has(userId)) apply(userId)
        },
        async leave() {
          if (left) return
          left = true
          unwatch()
          const others = (held.get(userId) ?? 1) - 1
          if (others > 0) return void held.set(userId, others)
          held.delete(userId)
          await removeEmpty()
        },
      }
    },
    removeEmpty,
    [Symbol.dispose]() {
      stepBack[Symbol.dispose]()
      restraint[Symbol.dispose]()
    },
  }
}

/** The names of the groups in one. */
function below(dir: string): string[] {
  try {
    return readdirSync(dir, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []))
  } catch {
    return []
  }
}
