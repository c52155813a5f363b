import type pg from "pg"

/** So many, and the next go over another connection: none is held for ever, however busy the server is. */
const READS_EACH = 1000

interface Line {
  client: Promise<pg.PoolClient>
  begun: number
  underWay: number
}

/**
 * Sends short reads over one connection as they come, without waiting for each other's answers: many at once then leave
 * and arrive together, which costs both sides a fraction of a turn each. It is given back when nothing is under way.
 */
export function createReads(pool: pg.Pool): (query: pg.QueryConfig) => Promise<unknown[]> {
  let current: Line | null = null
  return async (query) => {
    current ??= { client: pool.connect(), begun: 0, underWay: 0 }
    const line = current
    line.underWay++
    if (++line.begun === READS_EACH) current = null
    const client = await line.client.catch((error: unknown) => {
      if (current === line) current = null
      throw error
    })
    try {
      return (await client.query(query)).rows
    } finally {
      if (--line.underWay === 0) {
        if (current === line) current = null
        client.release()
      }
    }
  }
}
