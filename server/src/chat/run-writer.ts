import { sql } from "kysely"
import type { Database, Step } from "../db/database.ts"

/** The run is no longer ours: it was ended or taken over by someone else. Nothing more of it may be written. */
export class Fenced extends Error {
  override readonly name = "Fenced"
}

/** Steps that belong together, perhaps still being made; they keep their place in the order. */
export interface Entry {
  /** The highest event id that readers may know by then. */
  lastEvent: number
  steps: Step[] | Promise<Step[]>
  /** Written also when the run is no longer ours: what was spent was spent. */
  always?: Step[]
  /** Called when they are durable. */
  done?: () => void
}

/**
 * Writes a run's boundaries in order, each batch only while the run is ours. Those of one moment share a batch: a
 * commit is what an answer waits for longest.
 */
export interface RunWriter {
  add(entry: Entry): void
  /** Resolves when all that was added is durable; rejects when it could not be written. */
  flushed(): Promise<void>
}

/** How long a boundary waits for others. */
const GATHER_MS = 5

export function createRunWriter(
  db: Database,
  run: { id: string; epoch: number },
  onFailure: (error: unknown) => void,
): RunWriter {
  let pending: Entry[] = []
  let last = 0
  let timer: NodeJS.Timeout | null = null
  let writing: Promise<void> | null = null
  let failure: { error: unknown } | null = null

  function start(): void {
    if (timer !== null) clearTimeout(timer)
    timer = null
    writing ??= write()
  }

  async function write(): Promise<void> {
    while (pending.length > 0 && failure === null) {
      const entries = pending
      pending = []
      const upTo = last
      try {
        const steps = (await Promise.all(entries.map((entry) => entry.steps))).flat()
        await db.batch([ours(db, run, upTo), ...steps, ...entries.flatMap(({ always = [] }) => always)])
        for (const { done } of entries) done?.()
      } catch (error) {
        failure = { error }
        await salvage([...entries, ...pending])
        pending = []
        onFailure(error)
      }
    }
    writing = null
  }

  async function salvage(entries: readonly Entry[]): Promise<void> {
    const always = entries.flatMap((entry) => entry.always ?? [])
    for (const { steps } of entries) Promise.resolve(steps).catch(() => {})
    try {
      if (always.length > 0) await db.batch(always)
    } catch (error) {
      failure = { error }
    }
    for (const { done } of entries) done?.()
  }

  return {
    add(entry) {
      if (failure !== null) {
        void salvage([entry])
        return
      }
      last = Math.max(last, entry.lastEvent)
      pending.push(entry)
      if (writing === null) timer ??= setTimeout(start, GATHER_MS)
    },
    async flushed() {
      while (pending.length > 0 || writing !== null) {
        start()
        await writing
      }
      if (failure !== null) throw failure.error
    },
  }
}

function ours(db: Database, run: { id: string; epoch: number }, lastEvent: number): Step {
  return {
    query: db.kysely
      .updateTable("runs")
      .set({ last_event: sql<number>`case when last_event < ${lastEvent} then ${lastEvent} else last_event end` })
      .where("id", "=", run.id)
      .where("epoch", "=", run.epoch)
      .where("finished_at", "is", null),
    rows: 1,
    otherwise: () => new Fenced("the run was ended or taken over"),
  }
}
