import { statfs } from "node:fs/promises"
import { messageOf } from "../lib/errors.ts"
import type { Logger } from "../lib/log.ts"
import { type FolderUsage, usageOfDisk, usageOfFolders } from "./disk-usage.ts"

/** An open sandbox whose workspace lies on the host's disk. */
export interface WatchedSandbox {
  id: string
  /** Holds all workspaces of its user, each in a folder named by its agent's id. */
  folder: string
  /** The folder is a file system of its own, whose size is the limit already. */
  ownDisk: boolean
  /** For all of them together. */
  limitBytes: number | null
  /** Ends its commands, because the workspaces have passed their limit. */
  passed(): void
  /** Stops its commands where they are, and lets them go on. */
  hold(on: boolean): void
}

export interface DiskReserve {
  bytes: number
  /** Of the disk's size and of its inodes. */
  share: number
}

export interface DiskFree {
  bytes: number
  inodes: number
  low: boolean
}

export interface DiskWatchOptions {
  folder: string
  reserve: DiskReserve
  log: Logger
  sandboxes: () => WatchedSandbox[]
  /** For tests: what the disk says. */
  free?: () => Promise<DiskFree>
}

/**
 * Looks at the disk's free space and inodes often, which costs next to nothing, and at the workspaces of users when
 * those shrink, or a second has gone by. Commands that pass their user's limit are ended. Under the reserve all commands
 * are held and no file is taken.
 */
export interface DiskWatch extends AsyncDisposable {
  /** The disk is nearly full. */
  readonly low: boolean
  /** The same, looked at now where nothing has been open that it would have been looked at for. */
  isLow(): Promise<boolean>
}

const EVERY_MS = 250
const SHRUNK_BYTES = 8 * 1024 * 1024
const SHRUNK_INODES = 2_000
/** What grows slowly is seen by then; a large folder is measured less often, so that most of the time none is. */
const ANYWAY_MS = 600
const REST_FACTOR = 5
/** What takes longer to measure is measured by itself, so that others need not wait for it. */
const QUICK_MS = 100
const SLOW_AT_ONCE = 2
/** Of files at most so many for each MiB of the limit: a user's share of the disk's inodes. */
const ENTRIES_PER_MIB = 400
const MAX_ENTRIES_AT_LEAST = 20_000

export const maxEntries = (limitBytes: number): number =>
  Math.max(MAX_ENTRIES_AT_LEAST, Math.ceil((limitBytes / 1024 / 1024) * ENTRIES_PER_MIB))

/** The workspaces of one user. */
interface Group {
  sandboxes: WatchedSandbox[]
  last: FolderUsage | null
  /** When it is measured again, whatever the disk says. */
  nextMs: number
  /** What measuring it takes. */
  costMs: number
  measuring: boolean
}

export function watchDisk({
  folder,
  reserve,
  log,
  sandboxes,
  free = () => freeOf(folder, reserve),
}: DiskWatchOptions): DiskWatch {
  let low = false
  let most: Omit<DiskFree, "low"> = { bytes: 0, inodes: 0 }
  const groups = new Map<string, Group>()
  const working = new Set<Promise<void>>()
  let looking = false
  let lookedMs = Number.NEGATIVE_INFINITY
  let stopped = false

  const background = (work: Promise<void>) => {
    const done = work
      .catch((error) => log.warn("the disk could not be looked at", { error: messageOf(error) }))
      .finally(() => working.delete(done))
    working.add(done)
  }

  const timer = setInterval(() => {
    // One look at a time; a slow one makes the next ones fewer.
    if (looking) return
    looking = true
    background(
      look().finally(() => {
        looking = false
      }),
    )
  }, EVERY_MS)
  timer.unref()

  async function look(): Promise<void> {
    const open = sandboxes()
    regroup(open)
    if (open.length === 0 && !low) return
    const now = await free()
    lookedMs = performance.now()
    holdOrLetGo(open, now)
    const shrunk = most.bytes - now.bytes > SHRUNK_BYTES || most.inodes - now.inodes > SHRUNK_INODES
    most = shrunk ? now : { bytes: Math.max(most.bytes, now.bytes), inodes: Math.max(most.inodes, now.inodes) }
    const due = [...groups].filter(([, group]) => !group.measuring && (shrunk || isDue(group)))
    const together = due.filter(([, group]) => group.costMs < QUICK_MS)
    if (together.length > 0 && !stopped) background(measure(together))
    const isSlow = (group: Group) => group.costMs >= QUICK_MS
    const busy = [...groups.values()].filter((group) => group.measuring && isSlow(group)).length
    const slow = due.filter(([, group]) => isSlow(group)).sort(([, a], [, b]) => a.nextMs - b.nextMs)
    for (const one of slow.slice(0, Math.max(0, SLOW_AT_ONCE - busy))) if (!stopped) background(measure([one]))
  }

  function regroup(open: WatchedSandbox[]): void {
    for (const group of groups.values()) group.sandboxes = []
    for (const sandbox of open) {
      if (sandbox.limitBytes === null) continue
      const group = groups.get(sandbox.folder)
      if (group !== undefined) group.sandboxes.push(sandbox)
      else
        groups.set(sandbox.folder, {
          sandboxes: [sandbox],
          last: null,
          nextMs: 0,
          costMs: 0,
          measuring: false,
        })
    }
    for (const [path, group] of groups) if (group.sandboxes.length === 0 && !group.measuring) groups.delete(path)
  }

  function holdOrLetGo(open: WatchedSandbox[], now: DiskFree): void {
    if (now.low !== low) {
      low = now.low
      if (low)
        log.error("the disk is nearly full: commands are held and files refused until there is room", {
          free_bytes: now.bytes,
          free_inodes: now.inodes,
        })
      else log.info("the disk has room again: commands go on")
      if (!low) for (const sandbox of open) sandbox.hold(false)
    }
    // Each time, since new processes come.
    if (low) for (const sandbox of open) sandbox.hold(true)
  }

  async function measure(some: [string, Group][]): Promise<void> {
    const begun = performance.now()
    for (const [, group] of some) group.measuring = true
    try {
      const walked = some.flatMap(([path, group]) => (isOwnDisk(group) ? [] : [path]))
      const found = walked.length === 0 ? new Map<string, FolderUsage>() : await usageOfFolders(walked)
      for (const [path, group] of some) {
        const usage = found.get(path) ?? (await usageOfDisk(path).catch(() => null))
        if (usage === null || stopped) continue
        judge(group, usage)
        group.last = usage
      }
    } finally {
      for (const [, group] of some) {
        group.measuring = false
        group.costMs = (performance.now() - begun) / some.length
        group.nextMs = performance.now() + Math.max(ANYWAY_MS, REST_FACTOR * (performance.now() - begun))
      }
    }
  }

  return {
    get low() {
      return low
    },
    async isLow() {
      if (performance.now() - lookedMs > 2 * EVERY_MS) {
        lookedMs = performance.now()
        holdOrLetGo(sandboxes(), await free())
      }
      return low
    },
    async [Symbol.asyncDispose]() {
      stopped = true
      clearInterval(timer)
      while (working.size > 0) await Promise.all(working)
    },
  }
}

const isDue = ({ nextMs }: Group) => performance.now() > nextMs

const isOwnDisk = ({ sandboxes }: Group) => sandboxes[0]?.ownDisk === true

/**
 * What a disk of one's own may hold beyond the limit, since it is made a little larger for what it needs itself. It stops
 * a command by being full; only one that is far too large, from before a smaller plan, is for the watch.
 */
const slackOf = (limitBytes: number) => ({ bytes: 3 * 1024 * 1024 + limitBytes / 64, entries: 64 })

/** Over the limit already, but not growing: that may be the command which makes room. */
function judge(group: Group, { all, agents }: FolderUsage): void {
  const { sandboxes, last } = group
  const limit = sandboxes.at(-1)?.limitBytes ?? null
  if (last === null || limit === null) return
  const slack = isOwnDisk(group) ? slackOf(limit) : { bytes: 0, entries: 0 }
  const passed =
    (all.bytes > limit + slack.bytes && all.bytes > last.all.bytes) ||
    (all.entries > maxEntries(limit) + slack.entries && all.entries > last.all.entries)
  if (!passed) return
  for (const sandbox of sandboxes) {
    const now = agents.get(sandbox.id)
    const before = last.agents.get(sandbox.id)
    const grew = now === undefined || now.bytes > (before?.bytes ?? 0) || now.entries > (before?.entries ?? 0)
    if (grew) sandbox.passed()
  }
}

async function freeOf(folder: string, reserve: DiskReserve): Promise<DiskFree> {
  const disk = await statfs(folder)
  const bytes = disk.bavail * disk.bsize
  const floor = Math.min(reserve.bytes, disk.blocks * disk.bsize * reserve.share)
  // A reserve that is a size says nothing of inodes.
  const inodesLow = disk.files > 0 && disk.ffree < disk.files * (reserve.share < 1 ? reserve.share : 0.05)
  return { bytes, inodes: disk.ffree, low: bytes < floor || inodesLow }
}
