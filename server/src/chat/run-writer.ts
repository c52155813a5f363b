import { sql } from "kysely"
import type { Database, Step } from "../db/database.ts"

/** The run is no longer ours: it was ended or taken over by someone else. Nothing more may be written. */
export class Fenced extends Error {
  override readonly name = "Fenced"
}

/** Writes a run's boundaries in order, those that come together in one batch, each batch only while the run is ours. */
export interface RunWriter {
  /** `lastEvent` is the highest event id that readers may know by then. Steps that are still being made keep their place. */
  add(lastEvent: number, steps: Step[] | Promise<Step[]>): void
  /** Resolves when all that was added is durable; rejects when it could not be written. */
  flushed(): Promise<void>
}

export function createRunWriter(
  db: Database,
  run: { id: string; epoch: number },
  onFailure: (error: unknown) => void,
): RunWriter {
  let pending: (Step[] | Promise<Step[]>)[] = []
  let last = 0
  let writing: Promise<void> | null = null
  let failure: { error: unknown } | null = null

  async function write(): Promise<void> {
    // One turn later, so that boundaries which come together share a batch.
    await null
    while (pending.length > 0) {
      const parts = pending
      pending = []
      const upTo = last
      try {
        const steps = (await Promise.all(parts)).flat()
        await db.batch([ours(db, run, upTo), ...steps])
      } catch (error) {
        failure = { error }
        pending = []
        onFailure(error)
        break
      }
    }
    writing = null
  }

  return {
    add(lastEvent, steps) {
      if (failure !== null) {
        Promise.resolve(steps).catch(() => {})
        return
      }
      last = Math.max(last, lastEvent)
      pending.push(steps)
      writing ??= write()
    },
    async flushed() {
      while (writing !== null) await writing
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
