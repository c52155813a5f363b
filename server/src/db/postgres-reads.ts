import type pg from "pg"
import { holdBack } from "./hold-back.ts"

/** So many, and the next go over another connection: none is held for ever, however busy the server is. */
const READS_EACH = 1000

interface Line {
  client: Promise<pg.PoolClient>
  begun: number
  underWay: number
  /** What is sent waits for the end of the turn. */
  isHeld: boolean
}

/**
 * Sends short reads over one connection as they come, without waiting for each other's answers. Those of a turn leave
 * together, and are answered together: a write and a wake-up for each costs both sides as much as the read itself. The
 * connection is given back when nothing is under way.
 */
export function createReads(pool: pg.Pool): (query: pg.QueryConfig) => Promise<unknown[]> {
  let current: Line | null = null
  return async (query) => {
    current ??= { client: pool.connect(), begun: 0, underWay: 0, isHeld: false }
    const line = current
    line.underWay++
    if (++line.begun === READS_EACH) current = null
    const client = await line.client.catch((error: unknown) => {
      if (current === line) current = null
      throw error
    })
    if (!line.isHeld) {
      line.isHeld = true
      const send = holdBack(client)
      setImmediate(() => {
        line.isHeld = false
        send()
      })
    }
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
