import { setTimeout as pause } from "node:timers/promises"
import { every } from "../lib/every.ts"
import type { LiveRun } from "./live-run.ts"
import type { ChatParts } from "./parts.ts"
import type { RunError } from "./rows.ts"
import { endOfRow } from "./runs.ts"
import { LEASE_MS } from "./start-run.ts"

const RESTARTED: RunError = { error: "the server was restarted", code: "crashed" }
const RENEW_MS = 5000
/** No call outside a run takes as long. */
const FORGOTTEN_MS = 10 * 60_000
const FORGOTTEN_EVERY_MS = 60_000
/** How often an owner on PostgreSQL looks whether another server has ended one of its runs. */
const LOOK_MS = 500

export interface Recovery extends AsyncDisposable {
  /** Fails what this server's earlier boots left under way, with its events' end; frees what it held. */
  ownEarlier(): Promise<void>
}

/**
 * Who owns a run: the boot that started it. A server's start ends the runs of its own earlier boots at once. On
 * PostgreSQL an owner renews a lease; another server ends a run only when that has run out.
 */
export function createRecovery(parts: ChatParts, server: string, live: ReadonlyMap<string, LiveRun>): Recovery {
  const { db, clock, log, runs, budgets, owner } = parts
  const tasks = new AsyncDisposableStack()
  const often = (ms: number, what: string, work: (signal: AbortSignal) => Promise<void>) =>
    tasks.use(every(ms, work, (error) => log.warn(`${what} failed`, { error })))

  async function end(filter: (run: { owner: string; lease_until: number; id: string }) => boolean): Promise<void> {
    for (const run of await runs.unfinished({})) {
      if (!filter(run)) continue
      // Its end comes first: from then on the server that had it, should it still live, begins no call.
      if (await runs.takeAndEnd(run, "failed", RESTARTED, clock.now())) await budgets.bookLost({ runId: run.id })
    }
  }

  /** A run whose end could not be written (the database was away) must not stay open for ever. */
  async function endForgotten(signal: AbortSignal): Promise<void> {
    const mine = await runs.unfinished({ owner })
    const forgotten = mine.filter((run) => !live.has(run.id))
    if (forgotten.length === 0) return
    // One that has only just been inserted is not in the map yet.
    await pause(RENEW_MS, undefined, { ref: false, signal })
    for (const run of forgotten) {
      if (live.has(run.id)) continue
      await runs.takeAndEnd(run, "failed", { error: "internal server error", code: "internal" }, clock.now())
      await budgets.bookLost({ runId: run.id })
    }
  }

  async function renew(): Promise<void> {
    if (live.size > 0) await db.batch([runs.renewLeases(owner, clock.now() + LEASE_MS)])
    await end((run) => run.owner !== owner && run.lease_until < clock.now())
  }

  /** Runs of ours that another server has ended (a cancel there, the account's deletion): stop at once. */
  async function heedOthers(): Promise<void> {
    if (live.size === 0) return
    const open = new Map((await runs.unfinished({ owner })).map((run) => [run.id, run]))
    for (const run of live.values()) {
      if (run.state === "ended" || open.get(run.id)?.epoch === run.epoch) continue
      const row = await db.kysely.selectFrom("runs").selectAll().where("id", "=", run.id).executeTakeFirst()
      if (row?.epoch === run.epoch) continue
      const real = row === undefined ? null : endOfRow(row)
      run.lost(real ?? { state: "cancelled", error: { error: "the run was cancelled", code: "cancelled" } })
    }
  }

  /** Of a run that was cancelled from elsewhere after its server had died, or that never came back. */
  const bookForgotten = () => {
    const oldest = clock.now() - FORGOTTEN_MS
    return budgets.bookLost({ withoutRun: (_owner, since) => since < oldest })
  }

  often(RENEW_MS, "looking for forgotten runs", endForgotten)
  if (db.dialect === "postgres") {
    often(RENEW_MS, "renewing the leases of runs", renew)
    often(LOOK_MS, "looking after runs", heedOthers)
    often(FORGOTTEN_EVERY_MS, "looking for forgotten calls", bookForgotten)
  }

  return {
    async ownEarlier() {
      // SQLite's data folder belongs to one process at a time: whoever else owned a run there is gone.
      const isGone = (other: string) => other !== owner && (db.dialect === "sqlite" || other.startsWith(`${server}/`))
      await end((run) => isGone(run.owner))
      // What a call outside a run (a model's test) still held when its server died, or one that never came back.
      const oldest = clock.now() - FORGOTTEN_MS
      await budgets.bookLost({ withoutRun: (other, since) => isGone(other) || since < oldest })
    },
    async [Symbol.asyncDispose]() {
      await tasks.disposeAsync()
    },
  }
}
