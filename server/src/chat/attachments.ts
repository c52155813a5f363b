import { webcrypto } from "node:crypto"
import { mkdir, open, readdir, readFile, rename, rm, unlink } from "node:fs/promises"
import { join } from "node:path"
import { sql } from "kysely"
import type { Database, Step } from "../db/database.ts"
import { newId } from "../lib/ids.ts"
import type { TranscriptMessage } from "../runtime/transcript.ts"

/** Images of sessions: files named by their content under the user's folder, counted, referenced by hash. */
export interface Attachments {
  /**
   * Keeps the images of messages as files. Answers with the messages as they are stored (hashes in place of bytes) and
   * the steps that count the files, for the batch that stores the messages; `done` is called after that batch.
   */
  keep<M extends TranscriptMessage>(userId: string, messages: readonly M[]): Promise<Kept<M>>
  /** Puts the bytes back in place of hashes, newest first until `maxBytes`; an older image is named in words. */
  fill(userId: string, messages: readonly TranscriptMessage[], maxBytes: number): Promise<TranscriptMessage[]>
  /** The bytes of one image; null where there are none. */
  read(userId: string, hash: string): Promise<Buffer | null>
  /** Removes those of these hashes that no message of the user names any more. */
  sweep(userId: string, hashes: readonly string[]): Promise<void>
  /** Removes files that a server wrote which died before it had stored their messages. */
  sweepLost(signal: AbortSignal): Promise<void>
}

export interface Kept<M> {
  messages: M[]
  steps: Step[]
  done(): void
}

const HASH = /^[0-9a-f]{64}$/
/** What a file is called until it is whole. */
const PART = ".part"

export function createAttachments(db: Database, dataDir: string, now: () => number): Attachments {
  const folderOf = (userId: string) => join(dataDir, "users", userId, "attachments")
  /** One after the other for each user: a sweep must not remove what is being kept at the same time. */
  const turns = new Map<string, Promise<unknown>>()
  function inTurn<T>(userId: string, work: () => Promise<T>): Promise<T> {
    const mine = (turns.get(userId) ?? Promise.resolve()).then(work, work)
    const settled = mine.then(
      () => {},
      () => {},
    )
    turns.set(userId, settled)
    void settled.then(() => turns.get(userId) === settled && turns.delete(userId))
    return mine
  }

  /** Kept files whose messages are not stored yet: a sweep leaves them alone. */
  const pinned = new Map<string, number>()
  function pin(key: string, by: 1 | -1): void {
    const count = (pinned.get(key) ?? 0) + by
    if (count === 0) pinned.delete(key)
    else pinned.set(key, count)
  }

  /** Being written here; no other process writes into the data folder. */
  const unfinished = new Set<string>()

  async function store(userId: string, hash: string, data: Uint8Array): Promise<void> {
    const folder = folderOf(userId)
    await mkdir(folder, { recursive: true, mode: 0o700 })
    const name = newId("tmp") + PART
    const temporary = join(folder, name)
    unfinished.add(name)
    try {
      const file = await open(temporary, "wx", 0o600)
      try {
        await file.writeFile(data)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(temporary, join(folder, hash))
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    } finally {
      unfinished.delete(name)
    }
  }

  const read = async (userId: string, hash: string) =>
    HASH.test(hash) ? await readFile(join(folderOf(userId), hash)).catch(() => null) : null

  /** What was kept for a message that was then refused: no sum counts it, so it must not stay. */
  async function removeUncounted(userId: string, hash: string): Promise<void> {
    if (pinned.has(`${userId}/${hash}`)) return
    const query = db.kysely.selectFrom("attachments").select("hash")
    const row = await query.where("user_id", "=", userId).where("hash", "=", hash).executeTakeFirst()
    if (row === undefined) await rm(join(folderOf(userId), hash), { force: true })
  }

  async function sweepLostOf(userId: string): Promise<void> {
    const names = await readdir(folderOf(userId)).catch(() => [])
    if (names.length === 0) return
    const rows = await db.read.selectFrom("attachments").select("hash").where("user_id", "=", userId).execute()
    const counted = new Set(rows.map((row) => row.hash))
    for (const name of names) {
      if (HASH.test(name)) {
        if (!counted.has(name)) await inTurn(userId, () => removeUncounted(userId, name))
      } else if (name.endsWith(PART) && !unfinished.has(name)) await rm(join(folderOf(userId), name), { force: true })
    }
  }

  return {
    async keep(userId, messages) {
      const sizes = new Map<string, number>()
      const kept = await mapImages(messages, async (image) => {
        const { bytes } = image
        if (bytes === undefined) return image
        const hash = image.hash ?? (await sha256(bytes))
        if (!sizes.has(hash)) pin(`${userId}/${hash}`, 1)
        sizes.set(hash, bytes.length)
        await inTurn(userId, () => store(userId, hash, bytes))
        return { type: "image", mime_type: image.mime_type, hash }
      })
      const steps = [...sizes].map(
        ([hash, size_bytes]): Step => ({
          query: db.kysely
            .insertInto("attachments")
            .values({ user_id: userId, hash, size_bytes, created_at: now() })
            .onConflict((conflict) => conflict.doNothing()),
        }),
      )
      return {
        messages: kept,
        steps,
        done() {
          for (const hash of sizes.keys()) {
            pin(`${userId}/${hash}`, -1)
            // Left over at worst: a file that is in no sum.
            inTurn(userId, () => removeUncounted(userId, hash)).catch(() => {})
          }
          sizes.clear()
        },
      }
    },

    async fill(userId, messages, maxBytes) {
      let left = maxBytes
      const newestFirst = await mapImages(messages.toReversed(), async (image) => {
        if (image.hash === undefined || !HASH.test(image.hash)) return image
        if (left <= 0) return OMITTED
        const bytes = await readWhole(join(folderOf(userId), image.hash)).catch(() => null)
        if (bytes === null) return OMITTED
        left -= bytes.length
        return left < 0 ? OMITTED : { ...image, bytes }
      })
      return newestFirst.reverse()
    },

    read,

    async sweepLost(signal) {
      for (const userId of await readdir(join(dataDir, "users")).catch(() => [])) {
        if (signal.aborted) return
        await sweepLostOf(userId)
      }
    },

    async sweep(userId, hashes) {
      for (const hash of hashes) {
        if (!HASH.test(hash)) continue
        await inTurn(userId, async () => {
          if (pinned.has(`${userId}/${hash}`)) return
          const named = sql<boolean>`exists (select 1 from messages where user_id = ${userId} and content like ${`%"hash":"${hash}"%`})`
          const [gone] = await db.batch([
            {
              query: db.kysely
                .deleteFrom("attachments")
                .where("user_id", "=", userId)
                .where("hash", "=", hash)
                .where((eb) => eb.not(named))
                .returning("hash"),
            },
          ])
          if (gone.length > 0) await unlink(join(folderOf(userId), hash)).catch(() => {})
        })
      }
    },
  }
}

/** On a thread of its own: 5 MiB would hold up everybody's requests. */
async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return Buffer.from(await webcrypto.subtle.digest("SHA-256", bytes)).toString("hex")
}

/** Into memory of its own, which the runtime's thread is given. */
async function readWhole(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const file = await open(path)
  try {
    const { size } = await file.stat()
    const bytes = new Uint8Array(size)
    for (let done = 0; done < size; ) {
      const { bytesRead } = await file.read(bytes, done, size - done, done)
      if (bytesRead === 0) throw new Error("the file has become shorter")
      done += bytesRead
    }
    return bytes
  } finally {
    await file.close()
  }
}

type Image = {
  type: "image"
  mime_type: "image/png" | "image/jpeg" | "image/gif" | "image/webp"
  hash?: string | undefined
  bytes?: Uint8Array<ArrayBuffer> | undefined
}
type Text = { type: "text"; text: string }
const OMITTED: Text = { type: "text", text: "[an earlier image, not shown again]" }

/** Messages that hold no image are passed on as they are. */
async function mapImages<M extends TranscriptMessage>(
  messages: readonly M[],
  replace: (image: Image) => Promise<Image | Text>,
): Promise<M[]> {
  const mapped: M[] = []
  for (const message of messages) {
    if ((message.role !== "user" && message.role !== "tool") || !message.content.some((p) => p.type === "image")) {
      mapped.push(message)
      continue
    }
    const content: (Image | Text)[] = []
    for (const part of message.content) content.push(part.type === "image" ? await replace(part) : part)
    mapped.push({ ...message, content })
  }
  return mapped
}

/** The hashes that a stored message names. */
export function hashesOf(message: TranscriptMessage): string[] {
  if (message.role !== "user" && message.role !== "tool") return []
  return message.content.flatMap((part) => (part.type === "image" && part.hash !== undefined ? [part.hash] : []))
}
