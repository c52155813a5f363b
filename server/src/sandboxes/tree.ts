import { randomBytes } from "node:crypto"
import { constants, type Dirent } from "node:fs"
import { chmod, type FileHandle, lstat, open, readdir, rename, rmdir, unlink } from "node:fs/promises"
import { basename, dirname } from "node:path"
import { at, codeOf, O_PATH, openFolder, openNamed, TEMPORARY_PREFIX } from "./walk.ts"

/** So many folders are held open at once; what lies deeper is moved up first. */
const MAX_DEPTH = 32
const STALE_MS = 3_600_000

/**
 * Removes a folder with all in it, by descriptors: whoever swaps a folder for a link meanwhile gains nothing. Any depth.
 */
export async function removeTree(parent: FileHandle, name: string, signal: AbortSignal): Promise<void> {
  const top = await openNamed(parent, name)
  try {
    // Moving deep folders up makes new ones here; so until nothing is left.
    for (let round = 0; round < 1_000_000; round++) {
      const moved = await emptyFolder(top, top, 0, signal)
      if (!moved) break
    }
  } finally {
    await top.close()
  }
  await rmdir(at(parent, name))
}

/** The same for an absolute path whose parent no tenant can change; nothing there is fine. */
export async function removeFolder(path: string, signal: AbortSignal): Promise<void> {
  const parent = await openFolder(dirname(path)).catch(gone)
  if (parent === null) return
  try {
    await removeTree(parent, basename(path), signal)
  } catch (error) {
    gone(error)
  } finally {
    await parent.close()
  }
}

function gone(error: unknown): null {
  if (codeOf(error) === "ENOENT") return null
  throw error
}

async function emptyFolder(dir: FileHandle, top: FileHandle, depth: number, signal: AbortSignal): Promise<boolean> {
  let moved = false
  for (const entry of await readdir(at(dir), { withFileTypes: true, encoding: "buffer" })) {
    signal.throwIfAborted()
    moved = (await removeEntry(dir, entry, top, depth, signal)) || moved
  }
  return moved
}

async function removeEntry(
  dir: FileHandle,
  entry: Dirent<Buffer>,
  top: FileHandle,
  depth: number,
  signal: AbortSignal,
): Promise<boolean> {
  const path = Buffer.concat([Buffer.from(`${at(dir)}/`), entry.name])
  const isFolder = await unlink(path).then(
    () => false,
    (error) => {
      if (codeOf(error) === "ENOENT") return false
      if (codeOf(error) === "EISDIR" || codeOf(error) === "EPERM") return true
      throw error
    },
  )
  if (!isFolder) return false
  if (depth >= MAX_DEPTH) {
    await rename(path, at(top, `${TEMPORARY_PREFIX}${randomBytes(12).toString("hex")}`))
    return true
  }
  const child = await openReadable(path).catch(gone)
  if (child === null) return false
  try {
    if (await emptyFolder(child, top, depth + 1, signal)) return true
  } finally {
    await child.close()
  }
  await rmdir(path).catch(gone)
  return false
}

const FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/** A folder whose own mode forbids reading is opened all the same, so that nothing hides in it. */
async function openReadable(path: Buffer): Promise<FileHandle> {
  return open(path, FOLDER).catch(async (error) => {
    if (codeOf(error) !== "EACCES") throw error
    const named = await open(path, O_PATH | constants.O_DIRECTORY | constants.O_NOFOLLOW)
    try {
      await chmod(at(named), 0o700)
      return await open(at(named), constants.O_RDONLY | constants.O_DIRECTORY)
    } finally {
      await named.close()
    }
  })
}

/** Where the walk is: how to know this folder again, and which folders in it are still to be measured. */
interface Level {
  dev: bigint
  ino: bigint
  folders: Buffer[]
}

/**
 * Bytes (as the disk holds them, at most the size; a hard link counts once) and entries under a folder. Of any depth:
 * one folder is held at a time, and the way back is by `..`, which must be the folder that it was.
 */
export async function measureTree(root: FileHandle, signal: AbortSignal): Promise<{ bytes: number; entries: number }> {
  const seen = new Set<bigint>()
  const total = { bytes: 0, entries: 0 }

  async function measure(dir: FileHandle): Promise<Level> {
    const { dev, ino } = await dir.stat({ bigint: true })
    const folders: Buffer[] = []
    for (const name of await readdir(at(dir), { encoding: "buffer" })) {
      signal.throwIfAborted()
      const path = childOf(dir, name)
      const stat = await lstat(path, { bigint: true }).catch(() => null)
      if (stat === null) continue
      total.entries++
      if (stat.isDirectory()) folders.push(name)
      else if (name.toString("latin1").startsWith(TEMPORARY_PREFIX) && Date.now() - Number(stat.mtimeMs) > STALE_MS) {
        // Left by a server that was killed in the middle of an upload.
        await unlink(path).catch(() => {})
        continue
      }
      if (stat.nlink > 1n && !stat.isDirectory()) {
        if (seen.has(stat.ino)) continue
        seen.add(stat.ino)
      }
      if (stat.isFile()) total.bytes += Math.min(Number(stat.size), Number(stat.blocks) * 512)
    }
    return { dev, ino, folders }
  }

  let here = await open(at(root), FOLDER_ITSELF)
  try {
    const levels = [await measure(here)]
    for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
      const name = level.folders.pop()
      if (name !== undefined) {
        const child = await openReadable(childOf(here, name)).catch(() => null)
        if (child === null) continue
        await here.close()
        here = child
        levels.push(await measure(here))
      } else if (levels.pop() !== undefined && levels.length > 0) {
        const parent = await open(childOf(here, PARENT), FOLDER)
        await here.close()
        here = parent
        const { dev, ino } = await here.stat({ bigint: true })
        // Moved elsewhere meanwhile: what is left to measure is not found from here.
        if (dev !== levels.at(-1)?.dev || ino !== levels.at(-1)?.ino) break
      }
    }
  } finally {
    await here.close()
  }
  return total
}

const PARENT = Buffer.from("..")
const FOLDER_ITSELF = constants.O_RDONLY | constants.O_DIRECTORY
const childOf = (dir: FileHandle, name: Buffer) => Buffer.concat([Buffer.from(`${at(dir)}/`), name])
