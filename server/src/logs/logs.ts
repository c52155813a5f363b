import type { LogEntry } from "@autonomis/contract/usage.ts"
import type { Database } from "../db/database.ts"
import type { Clock } from "../lib/clock.ts"
import { every } from "../lib/every.ts"
import type { Logger } from "../lib/log.ts"
import { oneLine } from "./escape.ts"
import {
  deleteBefore,
  deleteBeyond,
  insertLines,
  type LogFilter,
  type LogRow,
  newestId,
  ROW_BYTES,
  readAfter,
  readTail,
} from "./store.ts"

export type { LogFilter } from "./store.ts"

/** One line for an account's log (or, without a user, the platform's). Values of secrets must be masked already. */
export interface LogLine {
  userId: string | null
  agentId?: string | null
  agentName?: string | null
  runId?: string | null
  level: LogEntry["level"]
  source: LogEntry["source"]
  message: string
}

export interface Logs extends AsyncDisposable {
  /** Takes a line and returns at once; it is stored with others soon after. Never throws. */
  write(line: LogLine): void
  /** The newest `tail` lines that pass the filter, the oldest of them first. Stored lines and those just written. */
  tail(filter: LogFilter, tail: number): Promise<StoredLine[]>
  /** The id of the newest line of all: from here on `follow` gives what is new. */
  newest(): Promise<number>
  /** What comes after `afterId`, as it comes, until the signal aborts. */
  follow(filter: LogFilter, afterId: number, signal: AbortSignal): AsyncGenerator<StoredLine[]>
  /** Resolves when everything written so far is stored. */
  flush(): Promise<void>
  /** Deletes what is too old. Runs by itself every ten minutes. */
  expire(): Promise<void>
}

export interface StoredLine {
  id: number
  entry: LogEntry
}

export interface LogsOptions {
  db: Database
  clock: Clock
  /** Where it is told that lines could not be stored. */
  log?: Logger
  /** How long lines are kept. */
  keptMs?: number
  /** How many bytes of lines an account, or the platform itself, keeps; a tenth more for a while. */
  keptBytes?: number
  /** How often lines of other servers on the same database are looked for. */
  pollMs?: number
}

const MAX_MESSAGE = 8192
const MAX_WAITING = 20_000
const GROUP = 500
const FLUSH_AFTER_MS = 100
/** Ids below the newest that may still come to light: PostgreSQL gives ids before it commits. */
const OVERLAP = { sqlite: 0, postgres: 2000 }

const DAY_MS = 24 * 3600_000
const EXPIRE_EVERY_MS = 10 * 60_000

export function createLogs(options: LogsOptions): Logs {
  const { db, clock, log, pollMs = 1000, keptMs = 30 * DAY_MS, keptBytes = 16 << 20 } = options
  let waiting: LogRow[] = []
  let dropped = 0
  let timer: NodeJS.Timeout | null = null
  let flushing: Promise<void> | null = null
  let closed = false
  const followers = new Set<() => void>()
  /** Bytes stored since an account was last looked at. A new one is looked at with its first lines. */
  const stored = new Map<string | null, number>()
  const expire = () => deleteBefore(db, clock.now() - keptMs)
  const expiry = every(EXPIRE_EVERY_MS, expire, (error) => log?.error("old log lines could not be deleted", { error }))

  function write(line: LogLine): void {
    if (closed) return
    if (waiting.length >= MAX_WAITING) {
      dropped++
      return
    }
    waiting.push({
      user_id: line.userId,
      agent_id: line.agentId ?? null,
      agent_name: line.agentName ?? null,
      run_id: line.runId ?? null,
      level: line.level,
      source: line.source,
      message: oneLine(line.message.replace(/\r?\n$/, ""), MAX_MESSAGE),
      created_at: clock.now(),
    })
    timer ??= setTimeout(() => void flush(), FLUSH_AFTER_MS)
  }

  async function flush(): Promise<void> {
    while (flushing) await flushing
    if (timer) clearTimeout(timer)
    timer = null
    if (waiting.length === 0) return
    flushing = store().finally(() => {
      flushing = null
    })
    await flushing
  }

  async function store(): Promise<void> {
    const rows = waiting
    waiting = []
    if (dropped > 0) rows.push(note(`${dropped} log lines were dropped: they came faster than they could be stored`))
    dropped = 0
    try {
      for (let i = 0; i < rows.length; i += GROUP) await insertLines(db, rows.slice(i, i + GROUP))
      await trim(rows)
    } catch (error) {
      log?.error("log lines could not be stored", { lines: rows.length, error })
    }
    for (const wake of followers) wake()
  }

  async function trim(rows: readonly LogRow[]): Promise<void> {
    const slack = keptBytes / 10
    for (const { user_id = null, message } of rows)
      stored.set(user_id, (stored.get(user_id) ?? slack) + message.length + ROW_BYTES)
    for (const [userId, bytes] of stored) {
      if (bytes <= slack) continue
      stored.set(userId, 0)
      await deleteBeyond(db, userId, keptBytes)
    }
  }

  const note = (message: string): LogRow => ({
    user_id: null,
    agent_id: null,
    agent_name: null,
    run_id: null,
    level: "warn",
    source: "platform",
    message,
    created_at: clock.now(),
  })

  return {
    write,
    flush,
    async tail(filter, tail) {
      await flush()
      return await readTail(db, filter, tail)
    },
    async newest() {
      await flush()
      return await newestId(db)
    },
    async *follow(filter, afterId, signal) {
      let from = afterId
      const seen = new Set<number>()
      while (!signal.aborted) {
        // Listening begins before the look, so that what is stored in between wakes it.
        const woken = nextWake(followers, pollMs, signal)
        const lines = await readAfter(db, filter, Math.max(afterId, from - OVERLAP[db.dialect]))
        const fresh = lines.filter((line) => line.id > afterId && !seen.has(line.id))
        for (const { id } of fresh) {
          seen.add(id)
          from = Math.max(from, id)
        }
        for (const id of seen) if (id < from - OVERLAP[db.dialect]) seen.delete(id)
        if (fresh.length > 0) yield fresh
        else await woken
      }
    },
    expire,
    async [Symbol.asyncDispose]() {
      closed = true
      await expiry[Symbol.asyncDispose]()
      await flush()
    },
  }
}

/** Resolves at the next store, after `pollMs`, or when the signal aborts; leaves nothing behind. */
function nextWake(followers: Set<() => void>, pollMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      followers.delete(done)
      signal.removeEventListener("abort", done)
      resolve()
    }
    const timer = setTimeout(done, pollMs)
    followers.add(done)
    signal.addEventListener("abort", done)
    if (signal.aborted) done()
  })
}
