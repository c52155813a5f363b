import { setTimeout as pause } from "node:timers/promises"
import type { LiveRun } from "./live-run.ts"
import type { ChatParts } from "./parts.ts"
import type { RunRow } from "./rows.ts"
import type { RunStore } from "./run-store.ts"

/** Where a reader's events go; an event stream is one. */
export interface Sink {
  send(id: number | null, event: string, data: unknown): void
  drained(): Promise<void>
  close(): void
  readonly closed: AbortSignal
}

/** What a reader needs of a run: that of a live one, or what is left of one that has just ended. */
export type Followed = Pick<LiveRun, "id" | "feed" | "state" | "flushed" | "attach">

const PAGE = 200
/** How often a run of another server is looked at. */
const LOOK_EVERY_MS = 200
/** How often its owner is told that somebody reads here. */
const NOTE_EVERY_MS = 1000

const isLast = (event: string) => event === "done" || event === "error"

/** What came after `after`, then what comes. A reader whom the ring still covers misses nothing. */
export async function followLive(runs: RunStore, run: Followed, after: number, sink: Sink): Promise<void> {
  const { feed } = run
  const detach = run.attach()
  sink.closed.addEventListener("abort", detach, { once: true })
  if (sink.closed.aborted) return detach()
  let from = after
  for (;;) {
    const missed = feed.since(from)
    if (missed !== null) {
      for (const { id, event, data } of missed) sink.send(id, event, data)
      if (isLast(missed.at(-1)?.event ?? "") || hasConcluded(run, from)) return sink.close()
      const { promise, resolve } = Promise.withResolvers<void>()
      // From here on without a gap: nothing was awaited since the look into the ring.
      const leave = feed.subscribe(({ id, event, data }) => {
        sink.send(id, event, data)
        if (!isLast(event)) return
        sink.close()
        resolve()
      })
      sink.closed.addEventListener("abort", () => resolve(), { once: true })
      await promise
      return leave()
    }
    // Too late for the ring: the boundaries, then the message under way as it stood at this moment.
    const upTo = feed.lastId
    const { text, thinking, voided } = feed.underWay
    await run.flushed().catch(() => {})
    await sendStored(runs, run.id, from, upTo, sink)
    if (sink.closed.aborted) return
    if (text !== "" || thinking !== "" || voided) sink.send(upTo, "message.snapshot", { text, thinking })
    await sink.drained()
    from = upTo
  }
}

/** A reader who has seen the last event and asks again is told that there is no more. */
const hasConcluded = (run: Followed, from: number) => run.state === "ended" && from >= run.feed.lastId

/** A run that has ended, or that another server works at: its boundaries, as they are stored. */
export async function followStored(parts: ChatParts, row: RunRow, after: number, sink: Sink): Promise<void> {
  const { db, runs, clock } = parts
  let from = after
  let noted = 0
  for (;;) {
    const current = await runs.byId(row.user_id, row.agent_id, row.id)
    const sent = await sendStored(runs, row.id, from, Number.MAX_SAFE_INTEGER, sink)
    from = sent.lastId
    if (sent.last || current === undefined || current.finished_at !== null) return sink.close()
    if (clock.now() - noted > NOTE_EVERY_MS) {
      noted = clock.now()
      await db.batch([runs.noteReader(row.id, noted + 2 * NOTE_EVERY_MS)])
    }
    await pause(LOOK_EVERY_MS, undefined, { signal: sink.closed }).catch(() => {})
    if (sink.closed.aborted) return
  }
}

async function sendStored(
  runs: RunStore,
  runId: string,
  after: number,
  upTo: number,
  sink: Sink,
): Promise<{ lastId: number; last: boolean }> {
  let lastId = after
  for (;;) {
    const events = await runs.events(runId, lastId, upTo, PAGE)
    for (const { seq, type, data } of events) {
      sink.send(seq, type, JSON.parse(data))
      lastId = seq
      if (isLast(type)) return { lastId, last: true }
    }
    if (events.length < PAGE || sink.closed.aborted) return { lastId, last: false }
    await sink.drained()
  }
}
