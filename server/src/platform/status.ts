import type { PlatformStatus } from "@autonomis/contract/platform.ts"
import { iso } from "../lib/clock.ts"

/** What the parts say about themselves, asked at each call. */
export interface StatusSources {
  sandboxesOpen(): number
  /** Runs under way. */
  runs(): number
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

export function platformStatus({ version, startedAt, database, sources }: StatusOptions): PlatformStatus {
  return {
    version,
    started_at: iso(startedAt),
    sandboxes_open: sources.sandboxesOpen(),
    runs: sources.runs(),
    database,
    sandbox: sources.sandbox(),
    providers: sources.providers(),
    paused: sources.paused(),
  }
}
