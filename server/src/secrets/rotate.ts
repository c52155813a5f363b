import { randomBytes } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import type { Database } from "../db/database.ts"
import { KEY_BYTES } from "../lib/seal.ts"
import {
  announcement,
  type MasterKey,
  masterKey,
  NEXT_PREFIX,
  nextAfter,
  sealDataKey,
  unsealDataKey,
} from "./master-keys.ts"

const USERS_AT_ONCE = 200
/** A server that began to seal a new data key before the announcement has finished by then. */
const STRAGGLERS_MS = 2000

export interface Rotated {
  key: Uint8Array
  /** How many users' data keys were sealed anew. */
  users: number
}

/**
 * Seals every user's data key with the next master key while servers go on reading: they find the next key in the
 * database, sealed by the one they have. Broken off, it goes on with the same next key when it is run again.
 */
export async function rotateMasterKey(
  db: Database,
  from: Uint8Array,
  given: Uint8Array | null,
  stragglersMs: number = STRAGGLERS_MS,
): Promise<Rotated> {
  const old = masterKey(from)
  const begun = await nextAfter(db, old)
  if (begun !== null && given !== null && begun.version !== masterKey(given).version)
    throw new Error("another rotation was begun and broken off; run it again without a new key to end it first")
  const next = begun ?? masterKey(given ?? randomBytes(KEY_BYTES))
  if (next.version === old.version) throw new Error("the new master key is the old one")
  if (begun === null) await db.batch([{ query: db.kysely.insertInto("meta").values(announcement(old, next)), rows: 1 }])

  let users = await sealAll(db, old, next)
  await sleep(stragglersMs)
  users += await sealAll(db, old, next)
  return { key: next.key, users }
}

async function sealAll(db: Database, old: MasterKey, next: MasterKey): Promise<number> {
  let users = 0
  for (;;) {
    const rows = await db.read
      .selectFrom("data_keys")
      .select(["user_id", "sealed"])
      .where("master_version", "=", old.version)
      .limit(USERS_AT_ONCE)
      .execute()
    if (rows.length === 0) return users
    await db.batch(
      rows.map(({ user_id, sealed }) => ({
        query: db.kysely
          .updateTable("data_keys")
          .set({
            sealed: sealDataKey(next, user_id, unsealDataKey(old, user_id, sealed)),
            master_version: next.version,
          })
          .where("user_id", "=", user_id)
          .where("master_version", "=", old.version),
      })),
    )
    users += rows.length
  }
}

/** Once no server has an older key any more: takes back what told it to them. */
export async function forgetOlderKeys(db: Database): Promise<void> {
  await db.batch([{ query: db.kysely.deleteFrom("meta").where("name", "like", `${NEXT_PREFIX}%`) }])
}
