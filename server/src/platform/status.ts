import type { PlatformStatus } from "@autonomis/contract/platform.ts"
import type { Database } from "../db/database.ts"
import { type Clock, iso } from "../lib/clock.ts"
import { PROVIDERS, splitModel } from "../runtime/providers.ts"
import type { SandboxStatus } from "../sandboxes/sandboxes.ts"

/** What the parts say about themselves, asked at each call. */
export interface StatusSources {
  version: string
  db: Database
  clock: Clock
  /** The platform's own keys and base URLs, by the variables' names. */
  providers: Readonly<Record<string, string>>
  sandboxes(): Pick<SandboxStatus, "driver" | "holds" | "open" | "egress">
  paused(): boolean
}

const HOUR_MS = 3600_000

/** `startedAt`: this server's. Runs and the providers' errors are those of every server on the database. */
export async function platformStatus(sources: StatusSources, startedAt: number): Promise<PlatformStatus> {
  const { version, db, clock, sandboxes, paused } = sources
  const { driver, holds, open, egress } = sandboxes()
  const { connections, refused, bytesOut, bytesIn } = egress
  return {
    version,
    started_at: iso(startedAt),
    sandboxes_open: open,
    runs: await countRuns(db),
    database: db.dialect,
    sandbox: { driver, holds, egress: { connections, refused, bytes_out: bytesOut, bytes_in: bytesIn } },
    providers: providersOf(sources.providers, await countErrors(db, clock.now() - HOUR_MS)),
    paused: paused(),
  }
}

async function countRuns(db: Database): Promise<number> {
  const query = db.read.selectFrom("runs").select((eb) => eb.fn.countAll<number>().as("count"))
  return (await query.where("finished_at", "is", null).executeTakeFirst())?.count ?? 0
}

/** Runs that a provider made fail, by the provider. */
async function countErrors(db: Database, since: number): Promise<Map<string, number>> {
  const rows = await db.read
    .selectFrom("runs")
    .select(["model", (eb) => eb.fn.countAll<number>().as("count")])
    .where("finished_at", ">=", since)
    .where("state", "=", "failed")
    .where("error", "like", '%"code":"failed_dependency"%')
    .groupBy("model")
    .execute()
  const errors = new Map<string, number>()
  for (const { model, count } of rows) {
    const provider = splitModel(model)?.provider
    if (provider !== undefined) errors.set(provider, (errors.get(provider) ?? 0) + count)
  }
  return errors
}

/** Those that the platform has a key for, and those that failed for someone. */
function providersOf(own: StatusSources["providers"], errors: ReadonlyMap<string, number>) {
  return PROVIDERS.map(({ id, keyVariables }) => ({
    name: id,
    key: keyVariables.some((name) => own[name] !== undefined),
    errors_last_hour: errors.get(id) ?? 0,
  })).filter(({ key, errors_last_hour }) => key || errors_last_hour > 0)
}
