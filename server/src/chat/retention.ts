import type { Database } from "../db/database.ts"
import type { Clock } from "../lib/clock.ts"
import type { Logger } from "../lib/log.ts"

/** A run's events can be read for so long after its end; its result and the transcript stay. */
export const EVENTS_KEPT_MS = 24 * 3600_000

const EVERY_MS = 10 * 60_000
const RUNS_AT_ONCE = 50
const MARK = "run_events_removed_to"

export interface Retention extends AsyncDisposable {
  sweep(): Promise<void>
}

/** Removes events whose time is over, a few runs at a time, so that nobody waits for it. */
export function createRetention(db: Database, clock: Clock, log: Logger): Retention {
  let stopped = false
  let sweeping: Promise<void> | null = null
  const timer = setInterval(() => {
    sweep().catch((error: unknown) => log.warn("old events could not be removed", { error }))
  }, EVERY_MS).unref()

  function sweep(): Promise<void> {
    sweeping ??= work().finally(() => {
      sweeping = null
    })
    return sweeping
  }

  async function work(): Promise<void> {
    const marked = await db.read.selectFrom("meta").select("value").where("name", "=", MARK).executeTakeFirst()
    let [at, id] = markOf(marked?.value)
    while (!stopped) {
      // In the order of their ends, from where the last sweep came to.
      const old = await db.read
        .selectFrom("runs")
        .select(["id", "finished_at"])
        .where("finished_at", "<", clock.now() - EVENTS_KEPT_MS)
        .where((eb) => eb.or([eb("finished_at", ">", at), eb.and([eb("finished_at", "=", at), eb("id", ">", id)])]))
        .orderBy("finished_at")
        .orderBy("id")
        .limit(RUNS_AT_ONCE)
        .execute()
      const last = old.at(-1)
      if (last === undefined) return
      at = last.finished_at ?? at
      id = last.id
      const value = JSON.stringify([at, id])
      await db.batch([
        {
          query: db.kysely.deleteFrom("run_events").where(
            "run_id",
            "in",
            old.map((run) => run.id),
          ),
        },
        {
          query: db.kysely
            .insertInto("meta")
            .values({ name: MARK, value })
            .onConflict((conflict) => conflict.column("name").doUpdateSet({ value })),
        },
      ])
    }
  }

  return {
    sweep,
    async [Symbol.asyncDispose]() {
      stopped = true
      clearInterval(timer)
      await sweeping
    },
  }
}

function markOf(value: string | undefined): [number, string] {
  const mark: unknown = value === undefined ? null : JSON.parse(value)
  return Array.isArray(mark) && typeof mark[0] === "number" && typeof mark[1] === "string"
    ? [mark[0], mark[1]]
    : [0, ""]
}
