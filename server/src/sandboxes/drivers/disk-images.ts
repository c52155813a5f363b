import { execFile } from "node:child_process"
import { access, mkdir, open, rename, rm, stat, statfs, truncate } from "node:fs/promises"
import { join } from "node:path"
import { setTimeout as delay } from "node:timers/promises"
import { promisify } from "node:util"
import { AppError, messageOf } from "../../lib/errors.ts"
import { createKeyedLock } from "../../lib/keyed-lock.ts"
import type { Logger } from "../../lib/log.ts"
import { maxEntries } from "../disk-watch.ts"
import { codeOf } from "../walk.ts"

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
  /** Whether users are given one who have none. */
  readonly make: boolean
  exists(userId: string): Promise<boolean>
  /**
   * Mounts the user's; with a limit (null: none) it is made where there is none, and grown when the limit has grown and
   * nobody else uses it now.
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
  make?: boolean
  /** How long one stays mounted that nobody uses. */
  lingerMs?: number | undefined
  /** Bounds how much is read and written on a device (`7:0`) in a second; null: no longer. */
  pace?: ((device: string, bytesPerSecond: number | null) => void) | undefined
}

interface Mounted {
  holders: number
  /** Null: not mounted. */
  sizeBytes: number | null
  /** While it is paced. */
  device: string | null
  idle: NodeJS.Timeout | undefined
}

const MIB = 1024 * 1024
const BLOCK_BYTES = 4096
const INODE_BYTES = 256
/** Without a limit a file system has the host's size, and room for as many files as are usual. */
const UNLIMITED_FILE_BYTES = 16 * 1024
const JOURNAL_MIB = 4
const FSCK_MENDED = 1
/** Kept for root: in a full one a folder for the user's next agent can still be made. */
const SPARE_BYTES = MIB
/** Of a file system with such blocks. */
const MAX_BYTES = 15 * 1024 ** 4
const LINGER_MS = 10_000
/**
 * A command's own writes go to memory first, so few ever wait. Without a bound one user's writes fill the disk's own cache, and each commit of the
 * server waits until that is empty.
 */
const DISK_BYTES_PER_SECOND = 64 * MIB
const REQUESTS_IN_FLIGHT = 4
const REQUEST_KIB = 64
/** What is given back to the host at once: much of it is one large change of the host's file system. */
const DISCARD_BYTES = MIB
const OPTIONS = "loop,nodev,nosuid,noatime,noinit_itable,discard,errors=remount-ro"

export const IMAGE_NAME = "workspaces.img"

export function createDiskImages({
  users,
  place,
  log,
  make = true,
  lingerMs = LINGER_MS,
  pace = () => {},
}: DiskImagesOptions): DiskImages {
  const disks = new Map<string, Mounted>()
  const lock = createKeyedLock()
  const imageOf = (userId: string) => join(users, userId, IMAGE_NAME)
  const pointOf = (userId: string) => join(place.inside, userId)
  void place.ended.then(() => {
    for (const disk of disks.values()) clearTimeout(disk.idle)
    disks.clear()
  })
  const inPlace = (...command: string[]) => run(place.enter(command))

  async function mount(userId: string, disk: Mounted, limitBytes: number | null | undefined): Promise<number> {
    const image = imageOf(userId)
    const wanted = await wantedFor(limitBytes)
    if (limitBytes !== undefined && !(await isThere(image)))
      await makeImage(
        image,
        wanted,
        limitBytes === null ? Math.floor(wanted / UNLIMITED_FILE_BYTES) : inodesFor(limitBytes),
      )
    if (wanted > (await sizeOf(image)) && (await isDetached(image))) await grow(userId, image, wanted)
    const sizeBytes = await sizeOf(image)
    await makeFolder(join(place.folder, userId))
    const attempt = () => inPlace("mount", "-t", "ext4", "-o", OPTIONS, "--", image, pointOf(userId))
    await attempt().catch(async (error: unknown) => {
      // The journal mends what a power cut leaves; this is for what it cannot mend.
      if (!(await isDetached(image))) throw error
      await check(image).catch(() => Promise.reject(error))
      await attempt()
    })
    // Not waited for: it only matters once much is written.
    stepBack(image)
      .then((found) => {
        if (found === null || disk.sizeBytes === null) return
        disk.device = found.device
        pace(found.device, DISK_BYTES_PER_SECOND)
        if (!found.isDirect) throw new Error("the file system of the data folder takes no direct writes")
      })
      .catch((error: unknown) =>
        log.warn("a user's disk may hold up others when much is written to it", { userId, error: messageOf(error) }),
      )
    return sizeBytes
  }

  /** The device may be another's next. */
  function unpace(disk: Mounted): void {
    if (disk.device !== null) pace(disk.device, null)
    disk.device = null
  }

  /** Only where nobody has it mounted; what it holds stays where it is. */
  async function grow(userId: string, image: string, sizeBytes: number): Promise<void> {
    try {
      await truncate(image, sizeBytes)
      await check(image, "-f")
      await run(["resize2fs", image])
    } catch (error) {
      log.warn("a user's disk could not be grown", { userId, error: messageOf(error) })
    }
  }

  const wantedFor = async (limitBytes: number | null | undefined): Promise<number> => {
    if (limitBytes === undefined) return 0
    return limitBytes === null ? sizeOfHost(users) : sizeFor(limitBytes)
  }

  /** Alone for this user. */
  async function makeReady(userId: string, disk: Mounted, limitBytes: number | null | undefined): Promise<void> {
    if (disk.sizeBytes !== null && disk.holders === 1 && (await wantedFor(limitBytes)) > disk.sizeBytes) {
      const unmounted = await inPlace("umount", pointOf(userId)).then(
        () => true,
        () => false,
      )
      if (unmounted) {
        disk.sizeBytes = null
        unpace(disk)
      }
    }
    disk.sizeBytes ??= await mount(userId, disk, limitBytes)
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
        unpace(disk)
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
      unpace(disk)
    })

  return {
    make,
    exists: (userId) => isThere(imageOf(userId)),
    async enter(userId, limitBytes) {
      const disk = disks.get(userId) ?? { holders: 0, sizeBytes: null, device: null, idle: undefined }
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
    await makeImage(image, sizeFor(0), inodesFor(0))
    await makeFolder(join(place.folder, "probe"))
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
  const itself = (JOURNAL_MIB + 1) * MIB + SPARE_BYTES + inodesFor(limitBytes) * INODE_BYTES + limitBytes / 64
  return Math.ceil(Math.min(limitBytes + itself, MAX_BYTES) / BLOCK_BYTES) * BLOCK_BYTES
}

/** A few are the file system's own. */
const inodesFor = (limitBytes: number) => maxEntries(limitBytes) + 16

/** Appears whole or not at all. */
async function makeImage(image: string, sizeBytes: number, inodes: number): Promise<void> {
  const unfinished = `${image}.new`
  const file = await open(unfinished, "w", 0o600)
  try {
    await file.truncate(sizeBytes)
  } finally {
    await file.close()
  }
  const spare = ((100 * SPARE_BYTES) / sizeBytes).toFixed(9)
  const options = ["-q", "-F", "-m", spare, "-b", String(BLOCK_BYTES), "-I", String(INODE_BYTES)]
  const sizes = ["-N", String(inodes), "-J", `size=${JOURNAL_MIB}`]
  // Holes read as zeros: nothing needs to be written over.
  const lazily = ["-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0"]
  await run(["mkfs.ext4", ...options, ...sizes, ...lazily, unfinished])
  await rename(unfinished, image)
}

/** Mends what can be mended without a loss. */
async function check(image: string, ...options: string[]): Promise<void> {
  await run(["e2fsck", ...options, "-p", image]).catch((error: Error & { code?: unknown }) => {
    if (error.code !== FSCK_MENDED) throw error
  })
}

/**
 * Writes pass the host's page cache by, few and small at a time. Else a user who writes without end fills cache and disk,
 * and each commit of the server's database waits behind it: a 99th percentile of 0.2 s instead of 10 ms. Gives its device (`7:0`); null when it is mounted no more.
 * Some file systems take only what went through the cache; the rest holds there, too.
 */
async function stepBack(image: string): Promise<{ device: string; isDirect: boolean } | null> {
  const script = `loop=$(losetup -nO NAME -j "$1"); [ -z "$loop" ] && exit
    losetup --direct-io=on "$loop" || :; cd "/sys/block/\${loop##*/}"
    echo ${REQUESTS_IN_FLIGHT} > queue/nr_requests; echo ${REQUEST_KIB} > queue/max_sectors_kb
    echo ${DISCARD_BYTES} > queue/discard_max_bytes; cat dev; losetup -nO DIO "$loop"`
  const [device, direct] = (await run(["sh", "-ec", script, "sh", image])).trim().split(/\s+/)
  return device ? { device, isDirect: direct === "1" } : null
}

/** Whoever had it mounted last takes a moment to let go of it. */
async function isDetached(image: string): Promise<boolean> {
  for (let tries = 0; tries < 25; tries++) {
    if ((await run(["losetup", "-j", image])) === "") return true
    await delay(20)
  }
  return false
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

/** Whether it is new. Only this one: below a process that has ended, making those above too would never come to an end. */
export async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path)
    return true
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false
    throw error
  }
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
