import type { PlatformStatus } from "@autonomis/contract/platform.ts"
import type { Database } from "../db/database.ts"
import { iso } from "../lib/clock.ts"

/** Runs under way on all servers of this database. */
export async function countRuns(db: Database): Promise<number> {
  const query = db.read.selectFrom("runs").select((eb) => eb.fn.countAll<number>().as("count"))
  return (await query.where("finished_at", "is", null).executeTakeFirst())?.count ?? 0
}

/** What the parts say about themselves, asked at each call. */
export interface StatusSources {
  sandboxesOpen(): number
  /** Runs under way. */
  runs(): number | Promise<number>
  sandbox(): { driver: string; holds: string[] }
  /** `key`: the platform has a key of its own there. */
  providers(): { name: string; key: boolean; errors_last_hour: number }[]
  paused(): boolean
}

export interface StatusOptions {
  version: string
  startedAt: number
  database: "sqlite" | "postgres"
  sources: StatusSources
}

export async function platformStatus(options: StatusOptions): Promise<PlatformStatus> {
  const { version, startedAt, database, sources } = options
  return {
    version,
    started_at: iso(startedAt),
    sandboxes_open: sources.sandboxesOpen(),
    runs: await sources.runs(),
    database,
    sandbox: sources.sandbox(),
    providers: sources.providers(),
    paused: sources.paused(),
  }
}
