import type { ChatAnswer, Run } from "@autonomis/contract/chat.ts"
import type { AgentRef } from "../http/endpoint.ts"
import { iso } from "../lib/clock.ts"
import { AppError } from "../lib/errors.ts"
import type { LiveRun } from "./live-run.ts"
import type { ChatParts } from "./parts.ts"
import { type Followed, followLive, followStored, type Sink } from "./readers.ts"
import { EVENTS_KEPT_MS } from "./retention.ts"
import type { RunEnd, RunError, RunRow } from "./rows.ts"

/** What is asked of runs by their id. A run of another agent or user is not there. */
export interface Runs {
  get(userId: string, agent: AgentRef, runId: string): Promise<Run>
  /** 409 when it has ended. */
  cancel(userId: string, agent: AgentRef, runId: string): Promise<Run>
  /** Sends what came after the event `after` (0: everything), then what comes, until the run's end or the sink's. */
  follow(userId: string, agent: AgentRef, runId: string, after: number, open: () => Sink): Promise<void>
  /** The same for a run that was started just now. */
  followOwn(run: LiveRun, sink: Sink): Promise<void>
  /** A run that has ended stays for readers who lost their connection just before. */
  keepForAWhile(run: LiveRun): void
  close(): void
}

const KEPT_MS = 60_000
const KEPT_CHARS = 8 * 1024 * 1024

const noSuchRun = (): AppError => new AppError("not_found", "run not found")

export function createRuns(parts: ChatParts, live: ReadonlyMap<string, LiveRun>): Runs {
  const { runs, clock } = parts
  const recent = new Map<string, { run: Followed; timer: NodeJS.Timeout }>()
  let keptChars = 0

  function forget(runId: string): void {
    const kept = recent.get(runId)
    if (kept === undefined) return
    clearTimeout(kept.timer)
    keptChars -= kept.run.feed.size
    recent.delete(runId)
  }
  async function find(userId: string, agent: AgentRef, runId: string): Promise<RunRow> {
    const row = await runs.byId(userId, agent.id, runId)
    if (row === undefined) throw noSuchRun()
    return row
  }

  return {
    async get(userId, agent, runId) {
      return view(await find(userId, agent, runId), agent)
    },

    async cancel(userId, agent, runId) {
      const row = await find(userId, agent, runId)
      const ended = () => new AppError("conflict", "the run has ended")
      if (row.finished_at !== null) throw ended()
      const mine = live.get(runId)
      if (mine !== undefined) mine.cancel()
      else if (
        !(await runs.takeAndEnd(row, "cancelled", { error: "the run was cancelled", code: "cancelled" }, clock.now()))
      )
        throw ended()
      return view((await runs.byId(userId, agent.id, runId)) ?? row, agent)
    },

    async follow(userId, agent, runId, after, open) {
      const row = await find(userId, agent, runId)
      const mine = live.get(runId) ?? recent.get(runId)?.run
      if (mine === undefined && row.finished_at !== null && row.finished_at < clock.now() - EVENTS_KEPT_MS)
        throw new AppError("not_found", "the events of this run are no longer kept")
      const sink = open()
      // Who has left already, or asks by HEAD, is no reader for whom a run goes on.
      if (sink.closed.aborted) return
      return mine === undefined ? followStored(parts, row, after, sink) : followLive(runs, mine, after, sink)
    },

    followOwn: (run, sink) => followLive(runs, run, 0, sink),
    keepForAWhile(run) {
      const timer = setTimeout(() => forget(run.id), KEPT_MS).unref()
      // Only its events: the run itself holds a whole conversation.
      const { id, feed } = run
      recent.set(id, { run: { id, feed, state: "ended", flushed: async () => {}, attach: () => () => {} }, timer })
      keptChars += feed.size
      for (const oldest of recent.keys()) {
        if (keptChars <= KEPT_CHARS) break
        forget(oldest)
      }
    },
    close() {
      for (const id of [...recent.keys()]) forget(id)
    },
  }
}

function view(row: RunRow, agent: AgentRef): Run {
  const end = endOfRow(row)
  return {
    run_id: row.id,
    agent: agent.name,
    session: row.session_name,
    state: row.state,
    result: end?.state === "succeeded" ? end.answer : null,
    error: end === null || end.state === "succeeded" ? null : { error: end.error.error, code: end.error.code },
    created_at: iso(row.created_at),
    finished_at: row.finished_at === null ? null : iso(row.finished_at),
  }
}

/** Null while it has not ended. What stands in the row was written by `finish` or `takeAndEnd`. */
export function endOfRow(row: RunRow): RunEnd | null {
  if (row.finished_at === null) return null
  if (row.state === "succeeded" && row.result !== null)
    return { state: "succeeded", answer: JSON.parse(row.result) as ChatAnswer }
  const error: RunError =
    row.error === null ? { error: "internal server error", code: "internal" } : JSON.parse(row.error)
  return { state: row.state === "cancelled" ? "cancelled" : "failed", error }
}
