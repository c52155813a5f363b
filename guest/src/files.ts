import { constants, type Dirent, type Stats } from "node:fs"
import { lstat, mkdir, open, opendir, readdir, realpath, rename, rm, rmdir, stat, unlink } from "node:fs/promises"
import { dirname, join, resolve } from "node:path"
import { CallError, codeOf } from "./failure.ts"
import { CHUNK_BYTES, type ListResult, MAX_LIST_ENTRIES, type StatResult } from "./protocol.ts"

/** Inside a sandbox the workspace is `/work`; without one (`workDir` elsewhere) that name stands for `workDir`. */
export function resolvePath(path: string, workDir: string): string {
  if (path.includes("\0")) throw new CallError("invalid", "a path cannot hold a NUL")
  if (workDir !== "/work" && (path === "/work" || path.startsWith("/work/"))) return join(workDir, path.slice(5))
  return resolve(workDir, path)
}

/** Sends the bytes of a regular file from `offset`, at most `length`; never waits on a fifo or a device. */
export async function readRange(
  path: string,
  offset: number,
  length: number,
  send: (data: Uint8Array) => Promise<boolean>,
): Promise<{ sizeBytes: number }> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const found = await file.stat()
    if (found.isDirectory()) throw new CallError("is_directory", `${path}: is a folder`)
    if (!found.isFile()) throw new CallError("invalid", `${path}: is not a regular file`)
    let at = offset
    const end = offset + length
    while (at < end) {
      const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, end - at))
      const { bytesRead } = await file.read(buffer, 0, buffer.length, at)
      if (bytesRead === 0 || !(await send(buffer.subarray(0, bytesRead)))) break
      at += bytesRead
    }
    return { sizeBytes: Math.max(found.size, found.size === 0 ? at : 0) }
  } finally {
    await file.close()
  }
}

export interface FileWriter {
  write(chunk: Uint8Array): Promise<void>
  commit(): Promise<void>
  abandon(): Promise<void>
}

let counter = 0

/** Into a temporary file beside the target; `commit` puts it in place at once, with the old file's mode. */
export async function openWriter(path: string): Promise<FileWriter> {
  const target = await realpath(path).catch((error) => {
    if (codeOf(error) === "ENOENT") return path
    throw error
  })
  const existing = await stat(target).catch(() => null)
  if (existing?.isDirectory()) throw new CallError("is_directory", `${path}: is a folder`)
  if (existing !== null && !existing.isFile()) throw new CallError("invalid", `${path}: is not a regular file`)
  await mkdir(dirname(target), { recursive: true })
  const temporary = join(dirname(target), `.autonomis-tmp-g${process.pid}-${counter++}`)
  const file = await open(temporary, "wx", (existing?.mode ?? 0o644) & 0o777)
  const drop = async () => {
    await file.close()
    await unlink(temporary).catch(() => {})
  }
  return {
    async write(chunk) {
      await file.writeFile(chunk)
    },
    async commit() {
      try {
        await file.close()
        await rename(temporary, target)
      } catch (error) {
        await unlink(temporary).catch(() => {})
        throw error
      }
    },
    abandon: drop,
  }
}

/** Follows links; one that leads nowhere is told as a link. */
export async function statPath(path: string): Promise<StatResult> {
  const found = await stat(path).catch(async (error) => {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ELOOP") return lstat(path)
    throw error
  })
  return describe(found)
}

function describe(found: Stats): StatResult {
  return { type: typeOf(found), sizeBytes: found.size, modifiedMs: Math.floor(found.mtimeMs) }
}

function typeOf(found: Stats | Dirent): StatResult["type"] {
  if (found.isFile()) return "file"
  if (found.isDirectory()) return "directory"
  return found.isSymbolicLink() ? "symlink" : "other"
}

export async function listFolder(path: string): Promise<ListResult> {
  const names: string[] = []
  for await (const entry of await opendir(path)) {
    names.push(entry.name)
    if (names.length >= MAX_LIST_ENTRIES) break
  }
  const entries: ListResult = []
  for (const name of names.sort()) {
    // Gone since it was listed: left out.
    const found = await lstat(join(path, name)).catch(() => null)
    if (found !== null) entries.push({ name, ...describe(found) })
  }
  return entries
}

export async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true })
}

export async function removePath(path: string, recursive: boolean): Promise<void> {
  const found = await lstat(path)
  if (!found.isDirectory()) return unlink(path)
  if (recursive) return rm(path, { recursive: true })
  await rmdir(path)
}

export async function renamePath(from: string, to: string): Promise<void> {
  await lstat(from)
  await mkdir(dirname(to), { recursive: true })
  await rename(from, to)
}

/** Keeps the newest `keep` files of a folder; their names sort by age. */
export async function keepNewest(folder: string, keep: number): Promise<void> {
  const names = (await readdir(folder)).sort()
  for (const name of names.slice(0, Math.max(0, names.length - keep))) await unlink(join(folder, name)).catch(() => {})
}
