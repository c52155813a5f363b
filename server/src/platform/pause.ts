import { auditStep } from "../audit/audit.ts"
import type { Database } from "../db/database.ts"
import type { Origin } from "../http/endpoint.ts"
import type { Clock } from "../lib/clock.ts"
import { every } from "../lib/every.ts"
import type { Logger } from "../lib/log.ts"

/** Whether new runs are taken, for every server on the same database and over restarts. */
export interface Pause extends AsyncDisposable {
  /** As of a second ago at most, where another server changed it. */
  paused(): boolean
  set(paused: boolean, origin: Origin): Promise<void>
  /** Reads what stands in the database; called once at the start. */
  load(): Promise<void>
}

const NAME = "paused"
const LOOK_EVERY_MS = 1000

export function createPause({ db, clock, log }: { db: Database; clock: Clock; log: Logger }): Pause {
  let paused = false
  const load = async () => {
    const row = await db.read.selectFrom("meta").select("value").where("name", "=", NAME).executeTakeFirst()
    paused = row?.value === "true"
  }
  // Only there can another server have changed it.
  const looks =
    db.dialect === "postgres"
      ? every(LOOK_EVERY_MS, load, (error) => log.warn("could not look whether the platform is paused", { error }))
      : null
  return {
    paused: () => paused,
    load,
    async set(value, origin) {
      const action = value ? "platform.pause" : "platform.resume"
      const query = db.kysely
        .insertInto("meta")
        .values({ name: NAME, value: String(value) })
        .onConflict((conflict) => conflict.column("name").doUpdateSet({ value: String(value) }))
      await db.batch([{ query }, auditStep(db, origin, { userId: null, action, target: "platform" }, clock.now())])
      paused = value
    },
    async [Symbol.asyncDispose]() {
      await looks?.[Symbol.asyncDispose]()
    },
  }
}
