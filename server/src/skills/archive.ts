import { promisify } from "node:util"
import { crc32, inflateRaw as inflateRawWithCallback, type ZlibOptions } from "node:zlib"
import { type Entry, fromBufferPromise, getFileNameLowLevel, type ZipFile } from "yauzl"
import { AppError } from "../lib/errors.ts"
import { MAX_ENTRIES, MAX_FILES, MAX_PATHS_BYTES, MAX_RATIO, MAX_UNPACKED_BYTES, RATIO_FROM_BYTES } from "./limits.ts"
import { collisionFinder, pathProblem } from "./paths.ts"

/** A file of a bundle, as unpacked. */
export interface BundleFile {
  path: string
  data: Buffer
  executable: boolean
}

/** The caller's mistake, said in one sentence; nothing of the archive is kept. */
export const refused = (why: string): AppError => new AppError("invalid_request", `the bundle was refused: ${why}`)

const inflateRaw = promisify<Buffer, ZlibOptions, Buffer>(inflateRawWithCallback)

const ENCRYPTED = 0x1 | 0x40 | 0x2000
const PATCHED = 0x20
const TYPE_MASK = 0o170000
const REGULAR = 0o100000
const FOLDER = 0o040000
const WINDOWS_REPARSE_POINT = 0x400
const CENTRAL_HEADER_BYTES = 46

interface Listed {
  entry: Entry
  path: string
  folder: boolean
}

/**
 * Hands out one file of a zip after the other. First the archive's own list is judged as a whole, then each file is
 * inflated to no more than the size it is listed with, so that no more than the limits is ever held. Throws 400 on anything that is not a plain zip with
 * plain files.
 */
export async function* unzip(archive: Buffer, signal: AbortSignal): AsyncGenerator<BundleFile> {
  const zip = await fromBufferPromise(archive, { decodeStrings: false }).catch(torn)
  // Also yauzl's late complaints end here: an "error" event that nobody hears would end the process.
  zip.on("error", () => {})
  const listed = await list(zip)
  const starts = await judgeLayout(archive, zip, listed)
  const collides = collisionFinder()
  for (const { path, folder } of listed) {
    const problem = pathProblem(folder ? path.slice(0, -1) : path) ?? (folder ? null : collides(path))
    if (problem !== null) throw refused(problem)
  }
  for (const { entry, path, folder } of listed) {
    signal.throwIfAborted()
    if (folder) continue
    const start = starts.get(entry) ?? archive.length
    const data = await inflate(archive.subarray(start, start + entry.compressedSize), entry)
    if (nestedArchive(data)) throw refused(`it holds another archive, ${path}; put the files in as they are`)
    yield { path, data, executable: ((entry.externalFileAttributes >>> 16) & 0o111) !== 0 || startsWithShebang(data) }
  }
}

export const startsWithShebang = (data: Buffer): boolean => data[0] === 0x23 && data[1] === 0x21

async function list(zip: ZipFile): Promise<Listed[]> {
  if (zip.entryCount > MAX_ENTRIES) throw tooMany()
  const listed: Listed[] = []
  let files = 0
  let bytes = 0
  let packed = 0
  let pathBytes = 0
  const entries = zip.eachEntry()
  for (;;) {
    const next = await entries.next().catch(torn)
    if (next.done) break
    const entry = next.value
    judgeKind(entry)
    const path = nameOf(entry)
    const folder = path.endsWith("/")
    if (folder && entry.uncompressedSize !== 0) throw refused("a folder with content")
    listed.push({ entry, path, folder })
    if (!folder && ++files > MAX_FILES) throw tooMany()
    bytes += entry.uncompressedSize
    packed += entry.compressedSize
    pathBytes += entry.fileNameLength
    if (bytes > MAX_UNPACKED_BYTES) throw tooBig()
    if (pathBytes > MAX_PATHS_BYTES) throw refused("its paths are too long, all together")
  }
  if (bytes > RATIO_FROM_BYTES && bytes > packed * MAX_RATIO) throw refused("it unpacks to far more than it is")
  if (files === 0) throw refused("it holds no file")
  return listed
}

function judgeKind(entry: Entry): void {
  if ((entry.generalPurposeBitFlag & ENCRYPTED) !== 0) throw refused("it is encrypted")
  if ((entry.generalPurposeBitFlag & PATCHED) !== 0) throw refused("it holds patches instead of files")
  if (entry.compressionMethod !== 0 && entry.compressionMethod !== 8)
    throw refused("it is compressed by a method other than deflate")
  const type = (entry.externalFileAttributes >>> 16) & TYPE_MASK
  if (type !== 0 && type !== REGULAR && type !== FOLDER) throw refused("it holds a link or a special file")
  if ((entry.externalFileAttributes & WINDOWS_REPARSE_POINT) !== 0) throw refused("it holds a link or a special file")
  for (const { id, data } of entry.extraFields) {
    // Unix fields that end with a link's target (PKWARE's after 12 bytes, ASi's after 14).
    if ((id === 0x000d && data.length > 12) || (id === 0x756e && data.length > 14))
      throw refused("it holds a link or a special file")
  }
}

/** The name that every reader sees: UTF-8, and not another one in an extra field. */
function nameOf(entry: Entry): string {
  let name: string
  try {
    name = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(entry.fileNameRaw)
  } catch {
    throw refused("a name that is not UTF-8")
  }
  const unicodeField = entry.extraFields.some((field) => field.id === 0x7075)
  if (unicodeField && getFileNameLowLevel(0x800, entry.fileNameRaw, entry.extraFields, true) !== name)
    throw refused("an entry with two names")
  return name
}

/**
 * Each entry's own bytes lie apart from all others, under the same name, and the archive's list is its last part. Gives
 * where the data of each begins.
 */
async function judgeLayout(archive: Buffer, zip: ZipFile, listed: readonly Listed[]): Promise<Map<Entry, number>> {
  const listBytes = listed.reduce(
    (sum, { entry }) =>
      sum + CENTRAL_HEADER_BYTES + entry.fileNameLength + entry.extraFieldLength + entry.fileCommentLength,
    0,
  )
  // After the last entry yauzl's cursor is where the list ends (its types call the number a boolean).
  const listEnd = Number(zip.readEntryCursor)
  const listStart = listEnd - listBytes
  const signature = archive.subarray(listEnd, listEnd + 4).toString("hex")
  // The end record, or its 64-bit form, must follow at once: else some readers see more entries than we do.
  if (listStart < 0 || !["504b0506", "504b0606"].includes(signature))
    throw refused("its list of files does not end where it says")

  const starts = new Map<Entry, number>()
  const ranges: { start: number; end: number }[] = []
  for (const { entry } of listed) {
    const start = entry.relativeOffsetOfLocalHeader
    if (start >= archive.length) throw refused("its list of files is wrong")
    const header = await zip.readLocalFileHeaderPromise(entry, { minimal: false }).catch(torn)
    if (!header.fileName.equals(entry.fileNameRaw)) throw refused("an entry with two names")
    const streamed = (header.generalPurposeBitFlag & 0x8) !== 0
    if (!streamed && (header.crc32 !== entry.crc32 || differs(header.uncompressedSize, entry.uncompressedSize)))
      throw refused("an entry with two sizes")
    starts.set(entry, header.fileDataStart)
    ranges.push({ start, end: header.fileDataStart + entry.compressedSize })
  }
  ranges.sort((a, b) => a.start - b.start)
  let end = 0
  for (const range of ranges) {
    if (range.start < end) throw refused("entries that overlap")
    end = range.end
  }
  if (end > listStart) throw refused("entries that overlap")
  return starts
}

/** The local header of a 64-bit entry bears only ones. */
const differs = (local: number, listed: number) => local !== 0xffffffff && local !== listed

/** Never more than the list says, which fits the limits; and neither less. */
async function inflate(packed: Buffer, entry: Entry): Promise<Buffer> {
  const { uncompressedSize: size } = entry
  const data =
    entry.compressionMethod === 0
      ? packed
      : await inflateRaw(packed, { maxOutputLength: Math.max(1, size) }).catch((error: unknown) => {
          if (error instanceof RangeError) throw wrongSize()
          return torn(error)
        })
  if (data.length !== size) throw wrongSize()
  if (crc32(data) !== entry.crc32) throw refused("a file does not match its checksum")
  return data
}

/** zip, gzip, bzip2, xz, zstd, 7z, rar. */
const ARCHIVE =
  /^(?:PK\x03\x04|PK\x05\x06|\x1f\x8b\x08|BZh[1-9]1AY&SY|\xfd7zXZ\0|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!\x1a\x07)/

/** Archives inside would pass unseen by every scan, ours and the registry's. Office documents are zips, and may stay. */
function nestedArchive(data: Buffer): boolean {
  if (data.subarray(257, 262).toString("latin1") === "ustar") return true
  if (!ARCHIVE.test(data.subarray(0, 16).toString("latin1"))) return false
  const first = data.subarray(30, 60).toString("latin1")
  return !(first.startsWith("[Content_Types].xml") || first.startsWith("mimetypeapplication/vnd.oasis"))
}

const wrongSize = () => refused("a file is not of the size that the archive says")
const tooMany = () => refused(`it holds more than ${MAX_FILES} files`)
const tooBig = () => refused(`it unpacks to more than ${MAX_UNPACKED_BYTES / 1024 / 1024} MiB`)

function torn(error: unknown): never {
  throw new AppError("invalid_request", "the bundle was refused: it is not a whole zip archive", { cause: error })
}
