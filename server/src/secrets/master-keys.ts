import { hash, randomBytes } from "node:crypto"
import type { Database } from "../db/database.ts"
import { KEY_BYTES, seal, unseal } from "../lib/seal.ts"

/**
 * The keys that seal the users' data keys. While a rotation is under way the next one stands in the database, sealed by
 * the one before, so that every server that knows the old key finds the new one without a restart.
 */
export interface MasterKeys {
  /** The newest, for sealing. */
  current(): Promise<MasterKey>
  /** The one of that version. Throws when nobody told it. */
  byVersion(version: number): Promise<MasterKey>
}

export interface MasterKey {
  /** The first 32 bits of the key's SHA-256: tells keys apart, and is no secret. */
  version: number
  key: Uint8Array
}

/** The name of the next key's row in `meta`; behind it stands the version that seals it. */
export const NEXT_PREFIX = "master_key_after:"

export function masterKey(key: Uint8Array): MasterKey {
  return { version: Number.parseInt(hash("sha256", key).slice(0, 8), 16), key }
}

export function createMasterKeys(db: Database, own: Uint8Array): MasterKeys {
  const known: MasterKey[] = [masterKey(own)]

  /** Follows the chain of rotations as far as it has come. */
  async function learn(): Promise<void> {
    for (let last = known.at(-1); last !== undefined; ) {
      const next = await nextAfter(db, last)
      if (next === null || known.some((key) => key.version === next.version)) return
      known.push(next)
      last = next
    }
  }

  return {
    async current() {
      await learn()
      return known.at(-1) ?? masterKey(own)
    },
    async byVersion(version) {
      const find = () => known.find((key) => key.version === version)
      if (find() === undefined) await learn()
      const found = find()
      if (found === undefined) throw new Error("a data key is sealed by a master key that this server does not have")
      return found
    },
  }
}

export async function nextAfter(db: Database, last: MasterKey): Promise<MasterKey | null> {
  const name = NEXT_PREFIX + last.version
  const row = await db.read.selectFrom("meta").select("value").where("name", "=", name).executeTakeFirst()
  return row === undefined ? null : masterKey(unseal(last.key, Buffer.from(row.value, "base64"), name))
}

/** What stands in `meta` for the key that follows `last`. */
export function announcement(last: MasterKey, next: MasterKey): { name: string; value: string } {
  const name = NEXT_PREFIX + last.version
  return { name, value: seal(last.key, next.key, name).toString("base64") }
}

const dataKeyPlace = (userId: string) => `data-key:${userId}`

export function sealDataKey(master: MasterKey, userId: string, dataKey: Uint8Array): Buffer {
  return seal(master.key, dataKey, dataKeyPlace(userId))
}

export function unsealDataKey(master: MasterKey, userId: string, sealed: Uint8Array): Buffer {
  return unseal(master.key, sealed, dataKeyPlace(userId))
}

export const newDataKey = (): Buffer => randomBytes(KEY_BYTES)
