import { crc32, deflateRawSync } from "node:zlib"

/** One entry of an archive. What is left out is as an honest tool would write it; what is set may lie. */
export interface ZipEntry {
  name: string | Buffer
  data?: string | Buffer
  /** Unix mode with type bits, as an unzip tool would set it. */
  mode?: number
  deflate?: boolean
  flags?: number
  method?: number
  extra?: Buffer
  crc?: number
  /** The sizes that the headers tell. */
  size?: number
  packedSize?: number
  /** The name in front of the data, where it is not that of the list. */
  localName?: string
  /** Where the list says the entry begins. */
  offset?: number
  attributes?: number
}

export interface ZipLies {
  /** The number of entries that the end record tells. */
  count?: number
  /** Bytes between the list and the end record. */
  gap?: Buffer
  prefix?: Buffer
}

/** Writes a zip, a hostile one if told so: nothing is checked, names are written as given. */
export function makeZip(entries: readonly ZipEntry[], lies: ZipLies = {}): Buffer {
  const parts: Buffer[] = lies.prefix ? [lies.prefix] : []
  const central: Buffer[] = []
  let at = lies.prefix?.length ?? 0
  for (const entry of entries) {
    const { local, listed } = written(entry, at)
    parts.push(local)
    central.push(listed)
    at += local.length
  }
  const list = Buffer.concat(central)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(lies.count ?? entries.length, 8)
  end.writeUInt16LE(lies.count ?? entries.length, 10)
  end.writeUInt32LE(list.length, 12)
  end.writeUInt32LE(at, 16)
  return Buffer.concat([...parts, list, lies.gap ?? Buffer.alloc(0), end])
}

function written(entry: ZipEntry, at: number): { local: Buffer; listed: Buffer } {
  const name = Buffer.from(entry.name)
  const localName = entry.localName === undefined ? name : Buffer.from(entry.localName)
  const data = Buffer.from(entry.data ?? "")
  const packed = entry.deflate ? deflateRawSync(data) : data
  const extra = entry.extra ?? Buffer.alloc(0)
  const common = Buffer.alloc(22)
  common.writeUInt16LE(entry.flags ?? 0x800, 0)
  common.writeUInt16LE(entry.method ?? (entry.deflate ? 8 : 0), 2)
  common.writeUInt16LE(0, 4)
  common.writeUInt16LE(33, 6)
  common.writeUInt32LE(entry.crc ?? crc32(data), 8)
  common.writeUInt32LE(entry.packedSize ?? packed.length, 12)
  common.writeUInt32LE(entry.size ?? data.length, 16)

  const localHead = Buffer.alloc(30)
  localHead.writeUInt32LE(0x04034b50, 0)
  localHead.writeUInt16LE(20, 4)
  common.copy(localHead, 6, 0, 20)
  localHead.writeUInt16LE(localName.length, 26)
  localHead.writeUInt16LE(extra.length, 28)

  const listedHead = Buffer.alloc(46)
  listedHead.writeUInt32LE(0x02014b50, 0)
  listedHead.writeUInt16LE((3 << 8) | 20, 4)
  listedHead.writeUInt16LE(20, 6)
  common.copy(listedHead, 8, 0, 20)
  listedHead.writeUInt16LE(name.length, 28)
  listedHead.writeUInt16LE(extra.length, 30)
  listedHead.writeUInt32LE((((entry.mode ?? 0) << 16) | (entry.attributes ?? 0)) >>> 0, 38)
  listedHead.writeUInt32LE(entry.offset ?? at, 42)
  return {
    local: Buffer.concat([localHead, localName, extra, packed]),
    listed: Buffer.concat([listedHead, name, extra]),
  }
}

/** The SKILL.md of a small honest skill. */
export function skillMd(name: string, more = "", description = "Does a thing. Use when asked for it."): string {
  return `---\nname: ${name}\ndescription: ${description}\n${more}---\n\n# ${name}\n`
}
