import { sql } from "kysely"
import type { Database, Step } from "../db/database.ts"

const CHANNEL = "autonomis_keys"
/** While notices are not heard, everything watched is looked at this often. */
const POLL_MS = 500

export interface Notices extends AsyncDisposable {
  /** Are notices of other servers heard? Always on SQLite, where there is no other. */
  areHeard(): boolean
  /** The last step of a batch: tells the servers that share the database whose keys have changed. */
  steps(userId: string | null): Step[]
}

export interface Listener {
  /** A server (this one too) has changed keys of a user, or of the administrator. */
  changed(userId: string | null): void
  /** Anything may have changed. */
  all(): void
}

/** Notices between servers that share a PostgreSQL; while they cannot be heard, a look at everything instead. */
export function createNotices(db: Database, listener: Listener): Notices {
  if (db.listen === null) return { areHeard: () => true, steps: () => [], async [Symbol.asyncDispose]() {} }
  let heard = false
  const poll = setInterval(() => {
    if (!heard) listener.all()
  }, POLL_MS)
  poll.unref()
  const listening = db.listen(CHANNEL, {
    notice: (payload) => listener.changed(payload === "" ? null : payload),
    up() {
      heard = true
      // What was said before the connection stood is not heard again.
      listener.all()
    },
    down() {
      heard = false
      listener.all()
    },
  })
  return {
    areHeard: () => heard,
    steps(userId) {
      const query = sql`select pg_notify(${CHANNEL}, ${userId ?? ""})`
      return [{ query: { compile: () => query.compile(db.kysely) } }]
    },
    async [Symbol.asyncDispose]() {
      clearInterval(poll)
      await listening[Symbol.asyncDispose]()
    },
  }
}
