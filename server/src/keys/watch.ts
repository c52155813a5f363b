import type { Principal } from "../http/endpoint.ts"
import type { Awaitable } from "../lib/awaitable.ts"
import type { Clock } from "../lib/clock.ts"
import type { Logger } from "../lib/log.ts"
import type { KeyRow } from "./store.ts"

/** How often keys with an end are looked at; a stream ends this much after its key at most. */
const EXPIRY_CHECK_MS = 200

interface Watched {
  controller: AbortController
  userId: string | null
  /** When the key or one it was opened with ends; null: never. */
  expiresAt: number | null
}

export interface Watch extends AsyncDisposable {
  signal(principal: Principal): AbortSignal
  /** Looks again at all watched keys of a user. Resolves once the dead ones were aborted. */
  changed(userId: string): Promise<void>
  /** Looks at every watched key. */
  all(): Promise<void>
}

interface Options {
  /** The row of a key that is alive, else null. */
  find(hash: string): Awaitable<KeyRow | null>
  clock: Clock
  log: Logger
}

/** Holds one abort signal for each key in use, and aborts it when the key may no longer be used. */
export function createWatch({ find, clock, log }: Options): Watch {
  const byHash = new Map<string, Watched>()
  const byUser = new Map<string, Set<string>>()
  const never = new AbortController().signal
  let timer: NodeJS.Timeout | null = null

  function drop(hash: string, watched: Watched): void {
    byHash.delete(hash)
    const group = byUser.get(watched.userId ?? "")
    group?.delete(hash)
    if (group?.size === 0) byUser.delete(watched.userId ?? "")
    watched.controller.abort(new Error("the API key may no longer be used"))
  }

  async function look(hash: string): Promise<void> {
    const watched = byHash.get(hash)
    if (watched === undefined) return
    const row = await find(hash)
    if (byHash.get(hash) !== watched) return
    if (row === null || row.state === "suspended") return drop(hash, watched)
    const ends = [row.expires_at, row.parent_expires_at, row.grandparent_expires_at].filter((at) => at !== null)
    watched.expiresAt = ends.length === 0 ? null : Math.min(...ends)
    if (watched.expiresAt !== null) startTimer()
  }

  function startTimer(): void {
    timer ??= setInterval(() => {
      let left = 0
      for (const [hash, watched] of byHash) {
        if (watched.expiresAt === null) continue
        if (watched.expiresAt <= clock.now()) drop(hash, watched)
        else left++
      }
      if (left > 0 || timer === null) return
      clearInterval(timer)
      timer = null
    }, EXPIRY_CHECK_MS).unref()
  }

  const lookAt = async (hashes: Iterable<string>) => {
    await Promise.all([...hashes].map(look))
  }

  return {
    signal({ keyHash, userId, suspended }) {
      // A suspended user may still read the account.
      if (suspended) return never
      const known = byHash.get(keyHash)
      if (known !== undefined) return known.controller.signal
      const watched: Watched = { controller: new AbortController(), userId, expiresAt: null }
      byHash.set(keyHash, watched)
      const group = byUser.get(userId ?? "")
      if (group === undefined) byUser.set(userId ?? "", new Set([keyHash]))
      else group.add(keyHash)
      // The key may have ended since it was looked up; from here on every change is heard.
      look(keyHash).catch((error) => log.error("a key could not be looked up", { error }))
      return watched.controller.signal
    },
    changed: (userId) => lookAt(byUser.get(userId) ?? []),
    all: () => lookAt(byHash.keys()),
    async [Symbol.asyncDispose]() {
      if (timer !== null) clearInterval(timer)
      byHash.clear()
      byUser.clear()
    },
  }
}
