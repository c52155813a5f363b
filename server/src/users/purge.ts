import { mkdir, rename } from "node:fs/promises"
import { join } from "node:path"
import type { Database } from "../db/database.ts"
import type { Logger } from "../lib/log.ts"
import { askEnders, type Ender } from "./ender.ts"
import { purgeStore } from "./purge-store.ts"

const ROWS_AT_ONCE = 1000

/** Removes what deleted users have left, in chunks; what a crash or a stop leaves over the next start takes up. */
export interface Purge extends AsyncDisposable {
  /** Stops everything of a user who is being deleted and moves the files out of reach. Idempotent. */
  stopUser(userId: string): Promise<void>
  /** Begins to remove the rest of all such users; returns at once. */
  kick(): void
  /** Resolves when nothing is being removed any more. */
  idle(): Promise<void>
}

export interface PurgeOptions {
  db: Database
  log: Logger
  dataDir: string
  enders: readonly Ender[]
  /** Removes a folder that tenants could write to, however deep. */
  removeFolder(path: string, signal: AbortSignal): Promise<void>
}

export function createPurge({ db, log, dataDir, enders, removeFolder }: PurgeOptions): Purge {
  const store = purgeStore(db)
  const stop = new AbortController()
  let working: Promise<void> = Promise.resolve()
  const trashOf = (userId: string) => join(dataDir, "trash", userId)

  async function stopUser(userId: string): Promise<void> {
    await askEnders(enders, (ender) => ender.endUser?.(userId))
    await mkdir(join(dataDir, "trash"), { recursive: true, mode: 0o700 })
    await rename(join(dataDir, "users", userId), trashOf(userId)).catch((error: NodeJS.ErrnoException) => {
      // Never had files, or an earlier try moved them already.
      if (error.code !== "ENOENT") throw error
    })
  }

  async function purge(userId: string): Promise<void> {
    await stopUser(userId)
    await removeFolder(trashOf(userId), stop.signal)
    while (!stop.signal.aborted && (await store.removeSome(userId, ROWS_AT_ONCE))) await new Promise(setImmediate)
    if (!stop.signal.aborted) await store.finish(userId)
  }

  async function purgeAll(): Promise<void> {
    for (const userId of await store.deleting()) {
      if (stop.signal.aborted) return
      await purge(userId).catch((error: unknown) => {
        if (!stop.signal.aborted)
          log.error("a deleted user's data could not be removed; the next start tries again", { userId, error })
      })
    }
  }

  return {
    stopUser,
    kick() {
      working = working
        .then(purgeAll)
        .catch((error: unknown) => log.error("deleted users could not be looked for", { error }))
    },
    idle: () => working,
    async [Symbol.asyncDispose]() {
      stop.abort()
      await working
    },
  }
}
