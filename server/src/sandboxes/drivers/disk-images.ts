import { execFile } from "node:child_process"
import { access, mkdir, open, rename, rm, stat, statfs, truncate } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import { AppError, messageOf } from "../../lib/errors.ts"
import { createKeyedLock } from "../../lib/keyed-lock.ts"
import type { Logger } from "../../lib/log.ts"
import { maxEntries } from "../disk-watch.ts"

/** Where file systems are mounted: a mount namespace that goes with this process, so that no crash leaves one behind. */
export interface MountPlace {
  /** The command that runs another where the mounts are. */
  enter(command: string[]): string[]
  /** The folder of the mount points, as this process finds it. */
  folder: string
  /** The same, as a program that has entered finds it. */
  inside: string
  /** Resolves when it is gone, with all that is mounted there. */
  ended: Promise<unknown>
}

export interface Disk {
  /** Its root, as this process finds it. */
  path: string
  /** The same, as a program that has entered the place finds it. */
  inside: string
  /** It may be unmounted from now on. Idempotent. */
  release(): void
}

/**
 * One file system for each user, in a sparse file of the user's folder: a limit in bytes and files that no program can
 * pass, for all of the user's workspaces together. Mounted while it is used and a little longer.
 */
export interface DiskImages {
  exists(userId: string): Promise<boolean>
  /**
   * Mounts the user's; with a limit (null: none) it is made where there is none, and grown when the limit has grown.
   * Errors: AppError("sandbox_unavailable").
   */
  enter(userId: string, limitBytes?: number | null): Promise<Disk>
  /** Lets go of it at once, whoever still reads there: the user's folder is to be moved or removed. */
  leave(userId: string): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

export interface DiskImagesOptions {
  /** `<data>/users` */
  users: string
  place: MountPlace
  log: Logger
  lingerMs?: number
}

interface Mounted {
  holders: number
  /** Null: not mounted. */
  sizeBytes: number | null
  idle: NodeJS.Timeout | undefined
}

const MIB = 1024 * 1024
const BLOCK_BYTES = 4096
const INODE_BYTES = 256
const JOURNAL_MIB = 4
/** Of a file system with such blocks. */
const MAX_BYTES = 15 * 1024 ** 4
const LINGER_MS = 10_000
const OPTIONS = "loop,nodev,nosuid,noatime,noinit_itable,discard,errors=remount-ro"

export const IMAGE_NAME = "workspaces.img"

export function createDiskImages({ users, place, log, lingerMs = LINGER_MS }: DiskImagesOptions): DiskImages {
  const disks = new Map<string, Mounted>()
  const lock = createKeyedLock()
  const imageOf = (userId: string) => join(users, userId, IMAGE_NAME)
  const pointOf = (userId: string) => join(place.inside, userId)
  void place.ended.then(() => {
    for (const disk of disks.values()) clearTimeout(disk.idle)
    disks.clear()
  })
  const inPlace = (...command: string[]) => run(place.enter(command))

  async function mount(userId: string, limitBytes: number | null | undefined): Promise<number> {
    const image = imageOf(userId)
    if (limitBytes != null && !(await isThere(image))) await makeImage(image, limitBytes)
    const sizeBytes = await sizeOf(image)
    await mkdir(join(place.folder, userId), { recursive: true })
    const attempt = () => inPlace("mount", "-t", "ext4", "-o", OPTIONS, "--", image, pointOf(userId))
    await attempt().catch(async (error: unknown) => {
      // The journal mends what a power cut leaves; this is for what it cannot mend.
      await run(["e2fsck", "-p", image]).catch((fsck: Error & { code?: number }) => {
        if (fsck.code !== 1) throw error
      })
      await attempt()
    })
    return sizeBytes
  }

  async function grow(userId: string, sizeBytes: number): Promise<void> {
    const image = imageOf(userId)
    await truncate(image, sizeBytes)
    const device = (await inPlace("findmnt", "-n", "-o", "SOURCE", "--mountpoint", pointOf(userId))).trim()
    await inPlace("losetup", "-c", device)
    await inPlace("resize2fs", device)
  }

  /** Alone for this user. */
  async function makeReady(userId: string, disk: Mounted, limitBytes: number | null | undefined): Promise<void> {
    disk.sizeBytes ??= await mount(userId, limitBytes)
    if (limitBytes === undefined) return
    const wanted = limitBytes === null ? await sizeOfHost(users) : sizeFor(limitBytes)
    if (wanted <= disk.sizeBytes) return
    // Tried once while it is mounted.
    disk.sizeBytes = wanted
    await grow(userId, wanted).catch((error) =>
      log.warn("a user's disk could not be grown", { userId, error: messageOf(error) }),
    )
  }

  function release(userId: string, disk: Mounted): void {
    disk.holders--
    if (disk.holders > 0) return
    clearTimeout(disk.idle)
    disk.idle = setTimeout(() => void unmountIdle(userId, disk), lingerMs).unref()
  }

  const unmountIdle = (userId: string, disk: Mounted): Promise<void> =>
    lock.run(userId, async () => {
      if (disk.holders > 0 || disks.get(userId) !== disk) return
      const { sizeBytes } = disk
      disk.sizeBytes = null
      try {
        if (sizeBytes !== null) await inPlace("umount", pointOf(userId))
        if (disk.holders === 0) disks.delete(userId)
      } catch {
        // Somebody still reads there.
        disk.sizeBytes = sizeBytes
        if (disk.holders === 0) disk.idle = setTimeout(() => void unmountIdle(userId, disk), lingerMs).unref()
      }
    })

  const leave = (userId: string): Promise<void> =>
    lock.run(userId, async () => {
      const disk = disks.get(userId)
      if (disk === undefined) return
      if (disk.sizeBytes === null) return
      disk.sizeBytes = null
      const point = pointOf(userId)
      await inPlace("umount", point).catch(() => inPlace("umount", "-l", point).catch(() => {}))
    })

  return {
    exists: (userId) => isThere(imageOf(userId)),
    async enter(userId, limitBytes) {
      const disk = disks.get(userId) ?? { holders: 0, sizeBytes: null, idle: undefined }
      disks.set(userId, disk)
      disk.holders++
      clearTimeout(disk.idle)
      try {
        await lock.run(userId, () => makeReady(userId, disk, limitBytes))
      } catch (error) {
        release(userId, disk)
        const image = imageOf(userId)
        log.error("a user's disk could not be mounted", { userId, image, cure: `e2fsck ${image}`, error })
        throw new AppError("sandbox_unavailable", "the disk of this user's workspaces cannot be opened", {
          cause: error,
        })
      }
      let released = false
      return {
        path: join(place.folder, userId),
        inside: pointOf(userId),
        release() {
          if (!released) release(userId, disk)
          released = true
        },
      }
    },
    leave,
    async [Symbol.asyncDispose]() {
      for (const disk of disks.values()) clearTimeout(disk.idle)
      await Promise.all([...disks.keys()].map(leave))
    },
  }
}

/** Why no image can be used here, found by using one; null when all is well. */
export async function tryDiskImage(folder: string, place: MountPlace): Promise<string | null> {
  const image = join(folder, "probe.img")
  const point = join(place.inside, "probe")
  try {
    await rm(image, { force: true })
    await makeImage(image, 0)
    await mkdir(join(place.folder, "probe"), { recursive: true })
    await run(place.enter(["mount", "-t", "ext4", "-o", OPTIONS, "--", image, point]))
    try {
      const { size } = await stat(image)
      const file = await open(join(place.folder, "probe", "file"), "w")
      try {
        // More than it can hold must be refused.
        await file.write(Buffer.alloc(1))
        const refused = await file.write(Buffer.alloc(size)).then(
          ({ bytesWritten }) => bytesWritten < size,
          (error: NodeJS.ErrnoException) => error.code === "ENOSPC",
        )
        return refused ? null : "a full image took more"
      } finally {
        await file.close()
      }
    } finally {
      await run(place.enter(["umount", point]))
    }
  } catch (error) {
    return messageOf(error).replaceAll("\n", " ").trim().slice(0, 300)
  } finally {
    await rm(image, { force: true })
  }
}

/** With room for the limit in files' bytes, beside what the file system needs for itself. */
function sizeFor(limitBytes: number): number {
  const itself = (JOURNAL_MIB + 1) * MIB + inodesFor(limitBytes) * INODE_BYTES + limitBytes / 64
  return Math.ceil(Math.min(limitBytes + itself, MAX_BYTES) / BLOCK_BYTES) * BLOCK_BYTES
}

/** A few are the file system's own. */
const inodesFor = (limitBytes: number) => maxEntries(limitBytes) + 16

/** Appears whole or not at all. */
async function makeImage(image: string, limitBytes: number): Promise<void> {
  const unfinished = `${image}.new`
  const file = await open(unfinished, "w", 0o600)
  try {
    await file.truncate(sizeFor(limitBytes))
  } finally {
    await file.close()
  }
  const options = ["-q", "-F", "-m", "0", "-b", String(BLOCK_BYTES), "-I", String(INODE_BYTES)]
  const sizes = ["-N", String(inodesFor(limitBytes)), "-J", `size=${JOURNAL_MIB}`]
  // Holes read as zeros: nothing needs to be written over.
  const lazily = ["-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0"]
  await run(["mkfs.ext4", ...options, ...sizes, ...lazily, unfinished])
  await rename(unfinished, image)
}

/** Of the file system in it, which its own first block tells. */
async function sizeOf(image: string): Promise<number> {
  const file = await open(image)
  try {
    const { buffer } = await file.read(Buffer.alloc(8), 0, 8, 1024)
    return buffer.readUInt32LE(4) * BLOCK_BYTES
  } finally {
    await file.close()
  }
}

async function sizeOfHost(folder: string): Promise<number> {
  const { blocks, bsize } = await statfs(folder)
  return Math.floor(Math.min(blocks * bsize, MAX_BYTES) / BLOCK_BYTES) * BLOCK_BYTES
}

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )

const ENV = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" }
const RUN_MS = 60_000
const execute = promisify(execFile)

async function run([command = "", ...args]: string[]): Promise<string> {
  return (await execute(command, args, { env: ENV, timeout: RUN_MS, cwd: "/" })).stdout
}
