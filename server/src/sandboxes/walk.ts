import { type BigIntStats, constants } from "node:fs"
import { chown, type FileHandle, mkdir, open, readlink } from "node:fs/promises"
import { AppError } from "../lib/errors.ts"

/** Names something without opening it: no fifo waits, no device acts, a link is itself. */
export const O_PATH = 0o10000000
const NAMED = O_PATH | constants.O_NOFOLLOW
const MAX_LINKS = 40
const MAX_PATH_BYTES = 4096
export const TEMPORARY_PREFIX = ".autonomis-tmp-"

/** A place in a workspace: a folder held by its descriptor, and a name in it (or the folder itself). */
export interface Place {
  dir: FileHandle
  /** Null: the place is `dir` itself. */
  name: string | null
  /** What stands there, held by its descriptor (opened with O_PATH); null when nothing does. */
  found: { handle: FileHandle; stat: BigIntStats } | null
}

export interface WalkOptions {
  /** Missing folders on the way are made, and given to this uid. */
  make: { uid: number | null } | null
  /** Whether a link as the last name is followed (an inner one) or is the place itself. */
  followLast: boolean
}

export const at = (dir: FileHandle, name?: string) =>
  name === undefined ? `/proc/self/fd/${dir.fd}` : `/proc/self/fd/${dir.fd}/${name}`

export const openNamed = (dir: FileHandle, name: string) => open(at(dir, name), NAMED)

/** The folder at an absolute path that no tenant can change. */
export const openFolder = (path: string) => open(path, NAMED | constants.O_DIRECTORY)

/**
 * Walks from the root's descriptor component by component; each step holds what it found, so that no change on the way
 * can lead outside. Links are read and walked by ourselves: an absolute one counts from `/work`, one that leaves is refused.
 */
export async function withPlace<T>(
  root: string,
  path: string,
  options: WalkOptions,
  signal: AbortSignal,
  use: (place: Place) => Promise<T>,
): Promise<T> {
  const pending = checkedParts(path).reverse()
  const stack: FileHandle[] = []
  let last: FileHandle | null = null
  let links = 0
  try {
    stack.push(await openFolder(root))
    for (;;) {
      signal.throwIfAborted()
      const top = stack.at(-1)
      if (top === undefined) throw leaves()
      const part = pending.pop()
      if (part === undefined)
        return await use({ dir: top, name: null, found: { handle: top, stat: await top.stat({ bigint: true }) } })
      if (part === "" || part === ".") continue
      if (part === "..") {
        if (stack.length === 1) throw leaves()
        await stack.pop()?.close()
        continue
      }
      const isLast = pending.length === 0
      last = await openNamed(top, part).catch(absent)
      if (last === null) {
        if (isLast) return await use({ dir: top, name: part, found: null })
        if (options.make === null) throw new AppError("not_found", "file not found")
        stack.push(await makeFolder(top, part, options.make.uid))
        continue
      }
      const stat = await last.stat({ bigint: true })
      if (stat.isSymbolicLink() && (options.followLast || !isLast)) {
        await last.close()
        last = null
        if (++links > MAX_LINKS) throw new AppError("invalid_request", "too many links in the path")
        const target = await readlink(at(top, part))
        if (target.startsWith("/")) {
          if (target !== "/work" && !target.startsWith("/work/")) throw leaves()
          for (const handle of stack.splice(1)) await handle.close()
        }
        pending.push(
          ...target
            .replace(/^\/work(?=\/|$)/, "")
            .split("/")
            .reverse(),
        )
      } else if (stat.isDirectory() && (options.followLast || !isLast)) {
        stack.push(last)
        last = null
      } else if (isLast) return await use({ dir: top, name: part, found: { handle: last, stat } })
      else if (options.make !== null) throw new AppError("conflict", "a part of the path is a file, not a folder")
      else throw new AppError("not_found", "file not found")
    }
  } catch (error) {
    throw inWords(error)
  } finally {
    await last?.close()
    for (const handle of stack) await handle.close()
  }
}

const leaves = () => new AppError("invalid_request", "the path leaves the workspace")

function checkedParts(path: string): string[] {
  if (path === "") return []
  const parts = path.split("/")
  for (const part of parts) {
    if (part === "" || part === "." || part === ".." || part.includes("\0"))
      throw new AppError("invalid_request", "the path is not valid")
    if (Buffer.byteLength(part) > 255) throw new AppError("invalid_request", "a name in the path is too long")
    if (part.startsWith(TEMPORARY_PREFIX))
      throw new AppError("invalid_request", `names that begin with ${TEMPORARY_PREFIX} are reserved`)
  }
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw new AppError("invalid_request", "the path is too long")
  return parts
}

async function makeFolder(dir: FileHandle, name: string, uid: number | null): Promise<FileHandle> {
  await mkdir(at(dir, name), 0o755).catch((error) => {
    if (codeOf(error) !== "EEXIST") throw error
  })
  const made = await open(at(dir, name), NAMED | constants.O_DIRECTORY)
  // Through the descriptor: it is exactly this folder that changes its owner.
  if (uid !== null) await chown(at(made), uid, uid)
  return made
}

function absent(error: unknown): null {
  if (codeOf(error) === "ENOENT") return null
  throw error
}

export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : ""
}

/** What the file system says, as the API says it; the rest is ours to look into. */
export function inWords(error: unknown): unknown {
  switch (codeOf(error)) {
    case "ENOENT":
      return new AppError("not_found", "file not found", { cause: error })
    case "ENOTDIR":
    case "EISDIR":
      return new AppError("conflict", "a part of the path changed from a folder to a file or back", { cause: error })
    case "ENOTEMPTY":
      return new AppError("conflict", "the folder is not empty; delete it with ?recursive=true", { cause: error })
    case "EINVAL":
    case "ELOOP":
      return new AppError("invalid_request", "the path changed while it was walked", { cause: error })
    case "ENAMETOOLONG":
      return new AppError("invalid_request", "the path is too long", { cause: error })
    case "EACCES":
    case "EPERM":
      return new AppError("conflict", "the file's own mode forbids it", { cause: error })
    case "ENOSPC":
    case "EDQUOT":
      return new AppError("plan_limit", "the storage limit is reached", { cause: error })
    default:
      return error
  }
}
