import { spawn } from "node:child_process"
import { statfs } from "node:fs/promises"
import { messageOf } from "../lib/errors.ts"
import type { Logger } from "../lib/log.ts"

/** An open sandbox whose workspace lies on the host's disk. */
export interface WatchedSandbox {
  id: string
  workspace: string
  limitBytes: number | null
  /** Ends its commands, because the workspace has passed its limit. */
  passed(): void
  /** Stops its commands where they are, and lets them go on. */
  hold(on: boolean): void
}

export interface DiskReserve {
  bytes: number
  /** Of the disk's size and of its inodes. */
  share: number
}

export interface DiskWatchOptions {
  folder: string
  reserve: DiskReserve
  log: Logger
  sandboxes: () => WatchedSandbox[]
  /** For tests: what the disk says. */
  free?: () => Promise<{ bytes: number; low: boolean }>
}

/**
 * Where the host offers no quota: looks at the disk's free space often, which costs next to nothing, and at the
 * workspaces when that shrinks. A command is ended within a second of passing its limit. Under the reserve all commands
 * are held and no file is taken.
 */
export interface DiskWatch extends AsyncDisposable {
  /** The disk is nearly full. */
  readonly low: boolean
}

const EVERY_MS = 250
const SHRUNK_BYTES = 8 * 1024 * 1024
/** Small files, or a steady trickle, are seen by then. */
const ANYWAY_MS = 5_000
/** Of files at most so many for each MiB of the limit: an agent's share of the disk's inodes. */
const ENTRIES_PER_MIB = 400
const MAX_ENTRIES_AT_LEAST = 20_000

export function watchDisk({
  folder,
  reserve,
  log,
  sandboxes,
  free = () => freeOf(folder, reserve),
}: DiskWatchOptions): DiskWatch {
  let low = false
  let lastFree = Number.POSITIVE_INFINITY
  let lastLook = 0
  const sizes = new Map<string, number>()
  let stopped = false
  let turn: Promise<void> = Promise.resolve()

  const timer = setInterval(() => {
    // One look at a time; a slow one makes the next ones fewer.
    if (!running) {
      running = true
      turn = look()
        .catch((error) => log.warn("the disk could not be looked at", { error: messageOf(error) }))
        .finally(() => {
          running = false
        })
    }
  }, EVERY_MS)
  timer.unref()
  let running = false

  async function look(): Promise<void> {
    const open = sandboxes()
    if (open.length === 0 && !low) return
    const now = await free()
    if (now.low !== low) {
      low = now.low
      if (low)
        log.error("the disk is nearly full: commands are held and files refused until there is room", {
          free_bytes: now.bytes,
        })
      else log.info("the disk has room again: commands go on")
      if (!low) for (const sandbox of open) sandbox.hold(false)
    }
    if (low) for (const sandbox of open) sandbox.hold(true)
    const shrunk = lastFree - now.bytes > SHRUNK_BYTES
    const due = performance.now() - lastLook > ANYWAY_MS
    if (!shrunk && !due) return
    lastFree = now.bytes
    lastLook = performance.now()
    for (const sandbox of open) {
      if (!stopped && sandbox.limitBytes !== null) await measure(sandbox, sandbox.limitBytes)
    }
  }

  async function measure(sandbox: WatchedSandbox, limitBytes: number): Promise<void> {
    const { bytes, entries } = await usageOf(sandbox.workspace)
    const before = sizes.get(sandbox.id) ?? 0
    sizes.set(sandbox.id, bytes)
    const maxEntries = Math.max(MAX_ENTRIES_AT_LEAST, (limitBytes / 1024 / 1024) * ENTRIES_PER_MIB)
    // Over the limit already, but not growing: that may be the command which makes room.
    if ((bytes > limitBytes && bytes > before) || entries > maxEntries) sandbox.passed()
  }

  return {
    get low() {
      return low
    },
    async [Symbol.asyncDispose]() {
      stopped = true
      clearInterval(timer)
      await turn
    },
  }
}

async function freeOf(folder: string, reserve: DiskReserve): Promise<{ bytes: number; low: boolean }> {
  const disk = await statfs(folder)
  const bytes = disk.bavail * disk.bsize
  const floor = Math.min(reserve.bytes, disk.blocks * disk.bsize * reserve.share)
  return { bytes, low: bytes < floor || (disk.files > 0 && disk.ffree < disk.files * Math.min(reserve.share, 0.05)) }
}

/** `du` walks by descriptors and follows no link; bytes as the disk holds them. */
function usageOf(path: string): Promise<{ bytes: number; entries: number }> {
  return new Promise((resolve) => {
    const child = spawn("nice", ["du", "-sx", "--block-size=1", path], { stdio: ["ignore", "pipe", "ignore"] })
    const counter = spawn("nice", ["du", "-sx", "--inodes", path], { stdio: ["ignore", "pipe", "ignore"] })
    const numbers = [child, counter].map(
      (process) =>
        new Promise<number>((done) => {
          let said = ""
          process.stdout.on("data", (chunk: Buffer) => {
            said += chunk
          })
          process.once("error", () => done(0))
          process.once("close", () => done(Number.parseInt(said, 10) || 0))
        }),
    )
    void Promise.all(numbers).then(([bytes = 0, entries = 0]) => resolve({ bytes, entries }))
  })
}
