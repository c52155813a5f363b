import pg from "pg"
import { holdBack } from "./hold-back.ts"

/** So many, and the next go over another connection: none is held for ever, however busy the server is. */
const READS_EACH = 1000

interface Line {
  client: Promise<pg.PoolClient>
  begun: number
  underWay: number
  /** What is sent waits for the end of the turn. */
  isHeld: boolean
  isBroken: boolean
}

/**
 * Sends short reads over one connection as they come, without waiting for each other's answers. Those of a turn leave
 * together, and are answered together: a write and a wake-up for each costs both sides as much as the read itself. The
 * connection is given back when nothing is under way; one that does not answer in time is ended, so that nobody waits
 * behind others for ever.
 */
export function createReads(pool: pg.Pool, withinMs: number): (query: pg.QueryConfig) => Promise<unknown[]> {
  let current: Line | null = null
  const leave = (line: Line) => {
    if (current === line) current = null
  }
  return async (query) => {
    current ??= { client: pool.connect(), begun: 0, underWay: 0, isHeld: false, isBroken: false }
    const line = current
    line.underWay++
    if (++line.begun === READS_EACH) current = null
    const client = await line.client.catch((error: unknown) => {
      leave(line)
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
      const timed = { ...query, query_timeout: withinMs }
      return (await client.query(timed)).rows
    } catch (error) {
      if (isLost(error)) {
        line.isBroken = true
        leave(line)
      }
      throw error
    } finally {
      if (--line.underWay === 0) {
        leave(line)
        client.release(line.isBroken)
      }
    }
  }
}

/** Prepared statements that are gone, or whose columns are others now: with every query of that name it would fail again. */
const STALE = new Set(["26000", "0A000"])

/** Is the connection of no use any more? What else the database answers leaves it as it was. */
export function isLost(error: unknown): boolean {
  if (!(error instanceof pg.DatabaseError)) return true
  return error.severity === "FATAL" || STALE.has(error.code ?? "")
}
