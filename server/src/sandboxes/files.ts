import { randomBytes } from "node:crypto"
import { type BigIntStats, constants, type ReadStream } from "node:fs"
import { type FileHandle, link, lstat, open, opendir, rename, rmdir, unlink } from "node:fs/promises"
import { Readable } from "node:stream"
import { AppError } from "../lib/errors.ts"
import type { FileEntry, FileStat, WorkspaceFiles } from "./driver.ts"
import { measureTree, removeTree } from "./tree.ts"
import { at, inWords, type Place, TEMPORARY_PREFIX, type WalkOptions, withPlace } from "./walk.ts"

export interface HostFilesOptions {
  /** Owner of what is written; null: whoever the server is. */
  uid: number | null
  /**
   * Works in the workspace's folder, above which nothing is in a tenant's reach. With `makes` it is made if it is not
   * there, else an empty folder may stand for it. What was opened there stays open.
   */
  within<T>(makes: boolean, work: (root: string) => Promise<T>): Promise<T>
}

/** Looked at together: each waits for a thread of the pool. */
const STATS_AT_ONCE = 64

const FOLLOW: WalkOptions = { make: null, followLast: true }

/** A workspace that the host sees, by descriptors only: see `walk.ts`. Leaves no descriptor and no temporary file behind. */
export function createHostFiles({ uid, within }: HostFilesOptions): WorkspaceFiles {
  const place = <T>(path: string, options: WalkOptions, signal: AbortSignal, use: (place: Place) => Promise<T>) =>
    within(options.make !== null, (root) => withPlace(root, path, options, signal, use))

  return {
    stat: (path, signal) => place(path, FOLLOW, signal, async (found) => statOf(path, present(found).stat)),

    list: (path, { limit, after }, signal) =>
      place(path, FOLLOW, signal, async (found) => {
        if (!present(found).stat.isDirectory()) throw new AppError("conflict", "not a folder")
        return listFolder(present(found).handle, limit, after ?? "", signal)
      }),

    read: (path, range, signal) =>
      place(path, FOLLOW, signal, async (found) => {
        const { handle, stat } = present(found)
        requireFile(stat)
        // The very file that was judged: through its descriptor, not by its name.
        const file = await open(at(handle), constants.O_RDONLY | constants.O_NONBLOCK)
        const size = Number(stat.size)
        const start = Math.min(range?.start ?? 0, size)
        const end = Math.min(range?.end ?? size, size)
        return { stat: statOf(path, stat), body: await bodyOf(file, start, end, signal) }
      }),

    write: (path, body, options, signal) => {
      if (path === "") return Promise.reject(new AppError("conflict", "a folder is there"))
      return place(path, { make: { uid }, followLast: true }, signal, (found) =>
        writeFile(path, found, body, { ...options, uid }, signal),
      )
    },

    remove: async (path, { recursive, ifMatch }, signal) => {
      if (path === "") throw new AppError("invalid_request", "the workspace itself cannot be deleted")
      if (ifMatch !== undefined)
        await place(path, FOLLOW, signal, async ({ found }) => checkConditions(found?.stat ?? null, { ifMatch }))
      return place(path, { make: null, followLast: false }, signal, async (found) => {
        const { stat } = present(found)
        const name = found.name ?? ""
        if (!stat.isDirectory()) await unlink(at(found.dir, name))
        else if (recursive) await removeTree(found.dir, name, signal)
        else await rmdir(at(found.dir, name))
      })
    },

    usage: (signal) => place("", FOLLOW, signal, (found) => measureTree(found.dir, signal)),
  }
}

function present(place: Place): NonNullable<Place["found"]> {
  if (place.found === null) throw new AppError("not_found", "file not found")
  return place.found
}

function requireFile(stat: BigIntStats): void {
  if (stat.isDirectory()) throw new AppError("conflict", "a folder is there")
  if (!stat.isFile()) throw new AppError("invalid_request", "not a regular file")
}

function typeOf(stat: BigIntStats): FileEntry["type"] {
  if (stat.isFile()) return "file"
  if (stat.isDirectory()) return "directory"
  return stat.isSymbolicLink() ? "symlink" : "other"
}

function statOf(path: string, stat: BigIntStats): FileStat {
  const etag = [stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].map((part) => part.toString(36)).join("-")
  return { ...entryOf(path.slice(path.lastIndexOf("/") + 1), stat), etag }
}

function entryOf(name: string, stat: BigIntStats): FileEntry {
  return { name, type: typeOf(stat), sizeBytes: Number(stat.size), modifiedMs: Number(stat.mtimeMs) }
}

async function bodyOf(file: FileHandle, start: number, end: number, signal: AbortSignal): Promise<Readable> {
  if (start >= end) {
    await file.close()
    return Readable.from([])
  }
  const stream: ReadStream = file.createReadStream({ start, end: end - 1, autoClose: true })
  const stop = () => stream.destroy()
  if (signal.aborted) stop()
  signal.addEventListener("abort", stop, { once: true })
  stream.once("close", () => signal.removeEventListener("abort", stop))
  return stream
}

/** The first `limit` entries after the name `after`. */
async function listFolder(dir: FileHandle, limit: number, after: string, signal: AbortSignal): Promise<FileEntry[]> {
  const entries: FileEntry[] = []
  for (let last = after; ; ) {
    const { names, more } = await namesAfter(dir, limit - entries.length, last, signal)
    last = names.at(-1) ?? last
    while (names.length > 0) {
      signal.throwIfAborted()
      const some = names.splice(0, STATS_AT_ONCE)
      const stats = await Promise.all(some.map((name) => lstat(at(dir, name), { bigint: true }).catch(() => null)))
      for (const [i, stat] of stats.entries()) if (stat !== null) entries.push(entryOf(some[i] ?? "", stat))
    }
    // Some may be gone since their names were read: others take their places.
    if (!more || entries.length >= limit) return entries
  }
}

/** Of a folder of any size only so many names are held. */
async function namesAfter(dir: FileHandle, limit: number, after: string, signal: AbortSignal) {
  let names: string[] = []
  let more = false
  const cut = () => {
    more ||= names.length > limit
    names = names.sort().slice(0, limit)
  }
  for await (const entry of await opendir(at(dir), { bufferSize: 1_024 })) {
    if (entry.name <= after || entry.name.startsWith(TEMPORARY_PREFIX)) continue
    names.push(entry.name)
    if (names.length > 4 * limit + 1_000) cut()
    if (names.length % 1_024 === 0) signal.throwIfAborted()
  }
  cut()
  return { names, more }
}

interface WriteOptions {
  maxBytes: number
  ifMatch?: string
  ifNoneMatch?: boolean
  uid: number | null
}

async function writeFile(
  path: string,
  place: Place,
  body: Readable | Uint8Array,
  options: WriteOptions,
  signal: AbortSignal,
): Promise<{ stat: FileStat; created: boolean }> {
  if (place.name === null) throw new AppError("conflict", "a folder is there")
  if (place.found !== null) requireFile(place.found.stat)
  checkConditions(place.found?.stat ?? null, options)
  const target = at(place.dir, place.name)
  const temporary = at(place.dir, `${TEMPORARY_PREFIX}${randomBytes(12).toString("hex")}`)
  const file = await open(
    temporary,
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
    0o600,
  )
  try {
    await copyTo(file, body, options.maxBytes, signal)
    if (options.uid !== null) await file.chown(options.uid, options.uid)
    await file.chmod(Number(place.found?.stat.mode ?? 0o644n) & 0o777)
    const existing = await lstat(target, { bigint: true }).catch(() => null)
    checkConditions(existing, options)
    if (existing?.isDirectory()) throw new AppError("conflict", "a folder is there")
    if (options.ifNoneMatch === true) {
      // A link is refused where a name stands already, whoever made it in the meantime.
      await link(temporary, target).catch((error) =>
        Promise.reject(error.code === "EEXIST" ? failedCondition() : error),
      )
      await unlink(temporary)
    } else await rename(temporary, target)
    return { stat: statOf(path, await file.stat({ bigint: true })), created: existing === null }
  } catch (error) {
    await unlink(temporary).catch(() => {})
    throw inWords(error)
  } finally {
    await file.close()
  }
}

const failedCondition = () =>
  new AppError("precondition_failed", "the file is not in the state that the condition asks for")

type Conditions = Pick<WriteOptions, "ifMatch" | "ifNoneMatch">

function checkConditions(stat: BigIntStats | null, { ifMatch, ifNoneMatch }: Conditions): void {
  if (ifNoneMatch === true && stat !== null) throw failedCondition()
  if (ifMatch === undefined) return
  if (stat === null || (ifMatch !== "*" && statOf("", stat).etag !== ifMatch)) throw failedCondition()
}

async function copyTo(
  file: FileHandle,
  body: Readable | Uint8Array,
  maxBytes: number,
  signal: AbortSignal,
): Promise<void> {
  let size = 0
  const chunks: AsyncIterable<unknown> | Iterable<unknown> = body instanceof Uint8Array ? [body] : body
  const stop = () => {
    if (!(body instanceof Uint8Array)) body.destroy()
  }
  // A body that never comes must not hold the file.
  signal.addEventListener("abort", stop, { once: true })
  try {
    for await (const chunk of chunks) {
      signal.throwIfAborted()
      const data = chunk instanceof Uint8Array ? chunk : Buffer.from(String(chunk))
      size += data.length
      if (size > maxBytes) throw new AppError("too_large", `the file is larger than ${maxBytes} bytes`)
      await file.writeFile(data)
    }
    signal.throwIfAborted()
  } finally {
    signal.removeEventListener("abort", stop)
  }
}
