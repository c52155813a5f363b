import type { KeyRow } from "./store.ts"

/** A change on a server whose notice was lost shows after this time at the latest. */
const LIVES_MS = 1000
const MOST = 10_000

/** Rows of keys in use, for a second at most; for a database that is a network away. */
export interface KeyCache {
  get(hash: string): KeyRow | null
  set(row: KeyRow): void
  dropUser(userId: string): void
  clear(): void
}

export function createKeyCache(now: () => number = () => performance.now()): KeyCache {
  const rows = new Map<string, { row: KeyRow; until: number }>()
  return {
    get(hash) {
      const known = rows.get(hash)
      if (known === undefined) return null
      if (known.until > now()) return known.row
      rows.delete(hash)
      return null
    },
    set(row) {
      if (rows.size >= MOST) rows.clear()
      rows.set(row.hash, { row, until: now() + LIVES_MS })
    },
    dropUser(userId) {
      for (const [hash, { row }] of rows) if (row.user_id === userId) rows.delete(hash)
    },
    clear: () => rows.clear(),
  }
}
