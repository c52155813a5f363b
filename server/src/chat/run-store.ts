import { sql } from "kysely"
import type { Database, Step } from "../db/database.ts"
import { AppError } from "../lib/errors.ts"
import { firstEventId, type RunEnd, type RunError, type RunRow } from "./rows.ts"

/** Waiting for a session's turn beyond the one that runs. */
const QUEUE = 8

/** Thrown inside the batch when the session has a run under way: this one must wait. */
export class SessionBusy extends Error {
  override readonly name = "SessionBusy"
}

/** Thrown inside the batch when the session was deleted or made by another in between: look again. */
export class SessionChanged extends Error {
  override readonly name = "SessionChanged"
}

/** In `meta`, before a run's id. */
const READER = "reader:"

const one = sql<number>`1`.as("ok")

export function runStore(db: Database) {
  const locked = db.dialect === "postgres"
  const guard = (condition: ReturnType<typeof sql<boolean>>, otherwise: () => Error): Step => ({
    query: db.kysely.selectNoFrom(one).where(condition),
    rows: 1,
    otherwise,
  })

  /** By the small index of open runs: a long session has thousands that have ended. */
  const openIn = (userId: string, sessionId: string) =>
    sql`select 1 from runs where user_id = ${userId} and finished_at is null and coalesce(session_id, '') = ${sessionId}`

  return {
    /** First in a batch that starts a run: the user is there, active, and on PostgreSQL starts take turns. */
    userMayRun(userId: string): Step {
      const query = db.kysely.selectFrom("users").select("id").where("id", "=", userId).where("state", "=", "active")
      return {
        query: locked ? query.forUpdate() : query,
        rows: 1,
        otherwise: () => new AppError("suspended", "this account is suspended"),
      }
    },

    agentIsThere(userId: string, agentId: string): Step {
      const query = db.kysely.selectFrom("agents").select("id").where("id", "=", agentId).where("user_id", "=", userId)
      return {
        query: locked ? query.forShare() : query,
        rows: 1,
        otherwise: () => new AppError("not_found", "agent not found"),
      }
    },

    /**
     * The plan's limit of runs at once. A session counts once however many messages wait in it: those that wait take
     * the place of the one that runs.
     */
    placeFree(userId: string, lane: string, most: number): Step {
      return guard(
        sql<boolean>`(select count(distinct coalesce(session_id, id)) from runs
          where user_id = ${userId} and finished_at is null and coalesce(session_id, id) <> ${lane}) < ${most}`,
        () =>
          new AppError("concurrency_limit", `your plan allows ${most} runs at once; wait for one to end`, {
            extra: { limit: "concurrent_runs", max: most },
            retryAfterSeconds: 1,
          }),
      )
    },

    sessionIsFree: (userId: string, sessionId: string, otherwise: () => Error): Step =>
      guard(sql<boolean>`not exists (${openIn(userId, sessionId)})`, otherwise),

    queueHasRoom: (userId: string, sessionId: string): Step =>
      guard(
        sql<boolean>`(select count(*) from (${openIn(userId, sessionId)}) as open_runs) <= ${QUEUE}`,
        () => new AppError("conflict", `${QUEUE} messages wait in this session already`),
      ),

    insert: (row: Omit<RunRow, "result" | "error" | "last_event" | "finished_at" | "attempts">): Step => ({
      query: db.kysely
        .insertInto("runs")
        .values({ ...row, attempts: 1, result: null, error: null, last_event: 0, finished_at: null }),
    }),

    /**
     * A waiting run's turn has come: nothing runs in its session, and nothing of another server waits there that came
     * before it. Those of its own server take turns by their lane: ids of one millisecond have no order.
     */
    promote(run: {
      id: string
      epoch: number
      userId: string
      sessionId: string
      createdAt: number
      model: string
      owner: string
      now: number
    }): Step[] {
      const { id, epoch, userId, sessionId, owner } = run
      return [
        guard(
          sql<boolean>`not exists (${openIn(userId, sessionId)} and id <> ${id}
            and (state = 'running' or (owner <> ${owner}
              and (created_at < ${run.createdAt} or (created_at = ${run.createdAt} and id < ${id})))))`,
          () => new SessionBusy(),
        ),
        {
          query: db.kysely
            .updateTable("runs")
            .set({ state: "running", started_at: run.now, model: run.model })
            .where("id", "=", id)
            .where("epoch", "=", epoch)
            .where("state", "=", "queued"),
          rows: 1,
          otherwise: () => new RunGone(),
        },
      ]
    },

    event: (run: { id: string; userId: string }, seq: number, type: string, data: unknown, now: number): Step => ({
      query: db.kysely.insertInto("run_events").values({
        run_id: run.id,
        user_id: run.userId,
        seq,
        type,
        data: JSON.stringify(data),
        created_at: now,
      }),
    }),

    /** The end of a run, with whatever it still held. Conditional on the epoch: a run ends once. */
    finish(run: { id: string; userId: string; epoch: number; agentId: string }, end: RunEnd, now: number): Step[] {
      return [
        {
          query: db.kysely
            .updateTable("runs")
            .set({
              state: end.state,
              result: end.state === "succeeded" ? JSON.stringify(end.answer) : null,
              error: end.state === "succeeded" ? null : JSON.stringify(end.error),
              finished_at: now,
            })
            .where("id", "=", run.id)
            .where("epoch", "=", run.epoch)
            .where("finished_at", "is", null),
          rows: 1,
          otherwise: () => new RunGone(),
        },
        {
          query: db.kysely.updateTable("agents").set({ last_active_at: now }).where("id", "=", run.agentId),
        },
      ]
    },

    /**
     * Ends a run from outside its owner: the epoch goes up, so that whatever the owner still writes is void. Answers
     * with no row when the run has ended or changed hands meanwhile.
     */
    async takeAndEnd(
      run: Pick<RunRow, "id" | "user_id" | "epoch">,
      state: "failed" | "cancelled",
      error: RunError,
      now: number,
    ): Promise<boolean> {
      const { extra: _extra, ...shown } = error
      const seq = firstEventId(run.epoch + 1) + 1
      try {
        await db.batch([
          {
            query: db.kysely
              .updateTable("runs")
              .set({ state, error: JSON.stringify(error), finished_at: now, epoch: run.epoch + 1, last_event: seq })
              .where("id", "=", run.id)
              .where("epoch", "=", run.epoch)
              .where("finished_at", "is", null),
            rows: 1,
            otherwise: () => new RunGone(),
          },
          this.event({ id: run.id, userId: run.user_id }, seq, "error", shown, now),
        ])
        return true
      } catch (error) {
        if (error instanceof RunGone) return false
        throw error
      }
    },

    byId: (userId: string, agentId: string, runId: string): Promise<RunRow | undefined> =>
      db.read
        .selectFrom("runs")
        .selectAll()
        .where("id", "=", runId)
        .where("user_id", "=", userId)
        .where("agent_id", "=", agentId)
        .executeTakeFirst(),

    events: (runId: string, after: number, upTo: number, limit: number) =>
      db.read
        .selectFrom("run_events")
        .select(["seq", "type", "data"])
        .where("run_id", "=", runId)
        .where("seq", ">", after)
        .where("seq", "<=", upTo)
        .orderBy("seq")
        .limit(limit)
        .execute(),

    /** Runs that have not ended, of whatever owner. */
    unfinished: (filter: { owner?: string; userId?: string; agentId?: string }) => {
      let query = db.read
        .selectFrom("runs")
        .select(["id", "user_id", "epoch", "owner", "lease_until", "agent_id"])
        .where("finished_at", "is", null)
      if (filter.owner !== undefined) query = query.where("owner", "=", filter.owner)
      if (filter.userId !== undefined) query = query.where("user_id", "=", filter.userId)
      if (filter.agentId !== undefined) query = query.where("agent_id", "=", filter.agentId)
      return query.execute()
    },

    /** A reader on another server tells the owner by this row that somebody is there. */
    noteReader: (runId: string, until: number): Step => ({
      query: db.kysely
        .insertInto("meta")
        .values({ name: READER + runId, value: String(until) })
        .onConflict((conflict) => conflict.column("name").doUpdateSet({ value: String(until) })),
    }),
    forgetReaders: (runId: string): Step => ({
      query: db.kysely.deleteFrom("meta").where("name", "=", READER + runId),
    }),
    /** Until when a reader on another server was there at least; 0: there was none. */
    async readerElsewhere(runId: string): Promise<number> {
      // On SQLite there is no other server.
      if (!locked) return 0
      const name = READER + runId
      const row = await db.read.selectFrom("meta").select("value").where("name", "=", name).executeTakeFirst()
      return Number(row?.value ?? 0)
    },

    renewLeases: (owner: string, until: number): Step => ({
      query: db.kysely
        .updateTable("runs")
        .set({ lease_until: until })
        .where("owner", "=", owner)
        .where("finished_at", "is", null),
    }),
  }
}

export type RunStore = ReturnType<typeof runStore>

/** The run has ended or changed hands. */
export class RunGone extends Error {
  override readonly name = "RunGone"
}
