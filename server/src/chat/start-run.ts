import type { Limits } from "@autonomis/contract/plans.ts"
import type { Step } from "../db/database.ts"
import { AppError } from "../lib/errors.ts"
import { ids } from "../lib/ids.ts"
import { countRun } from "../usage/usage.ts"
import type { Kept } from "./attachments.ts"
import { type ConversationMessage, titleOf } from "./content.ts"
import { type RunIdentity, startedData } from "./live-run.ts"
import type { ChatParts } from "./parts.ts"
import { type Prepared, prepare, type RunWish } from "./prepare.ts"
import { firstEventId, type SessionRow } from "./rows.ts"
import { SessionBusy, SessionChanged } from "./run-store.ts"
import { newMessage } from "./session-store.ts"

/** How long a run's owner may be silent before another server takes it for dead. */
export const LEASE_MS = 30_000

export interface NewRun {
  userId: string
  agentId: string
  agentName: string
  sessionName: string | null
  conversation: ConversationMessage[]
  wish: RunWish
  limits: Limits
  /** Further steps of the batch that makes the run's row (the request's idempotency key). */
  also: (runId: string) => Step[]
}

export type StartedRow = { run: RunIdentity; queued: false; prepared: Prepared } | { run: RunIdentity; queued: true }

/**
 * Makes the run's row: with the user's messages and running, in one transaction; or waiting, where its session has a
 * run under way (`expectBusy` saves the try). Refused by the plan's limit of runs at once, exactly.
 */
export async function insertRun(
  parts: ChatParts,
  input: NewRun,
  kept: Kept<ConversationMessage>,
  expectBusy: (sessionId: string) => boolean,
): Promise<StartedRow> {
  const { db, clock, runs, sessions, owner } = parts
  for (;;) {
    const now = clock.now()
    const session = input.sessionName === null ? null : await sessions.byName(input.agentId, input.sessionName)
    const sessionId = input.sessionName === null ? null : (session?.id ?? ids.session())
    const run: RunIdentity = {
      id: ids.run(),
      epoch: 0,
      userId: input.userId,
      agentId: input.agentId,
      agentName: input.agentName,
      session: sessionId === null ? null : { id: sessionId, name: input.sessionName ?? "" },
      createdAt: now,
    }
    const prepared = await prepare(parts, run, input.wish, session ?? null)
    const row = {
      id: run.id,
      user_id: run.userId,
      agent_id: run.agentId,
      session_id: sessionId,
      session_name: input.sessionName,
      owner,
      epoch: run.epoch,
      lease_until: now + LEASE_MS,
      model: prepared.resolved.model,
      created_at: now,
    }
    const most = input.limits.concurrent_runs
    const admission: Step[] = [runs.userMayRun(run.userId)]
    if (sessionId !== null) {
      const title = titleOf(input.conversation)
      if (!session)
        admission.push(
          sessions.create({
            id: sessionId,
            userId: run.userId,
            agentId: run.agentId,
            name: input.sessionName ?? "",
            title,
            now,
          }),
        )
      admission.push(sessions.lock(sessionId))
    }
    admission.push(runs.agentIsThere(run.userId, run.agentId))
    if (most !== null) admission.push(runs.placeFree(run.userId, sessionId ?? run.id, most))
    try {
      if (sessionId === null || !expectBusy(sessionId)) {
        try {
          await db.batch([
            ...admission,
            ...(sessionId === null ? [] : [runs.sessionIsFree(run.userId, sessionId, () => new SessionBusy())]),
            runs.insert({ ...row, state: "running", started_at: now }),
            ...input.also(run.id),
            ...beginSteps(parts, run, prepared, session ?? null, kept, now),
          ])
          return { run, queued: false, prepared }
        } catch (error) {
          if (!(error instanceof SessionBusy) || sessionId === null) throw error
        }
      }
      await db.batch([
        ...admission,
        runs.queueHasRoom(run.userId, sessionId),
        runs.insert({ ...row, state: "queued", started_at: null }),
        ...input.also(run.id),
      ])
      return { run, queued: true }
    } catch (error) {
      if (!(error instanceof SessionChanged)) throw error
    }
  }
}

/** What goes with a run's beginning: its messages, the session's snapshot, the day's count, the first event. */
function beginSteps(
  { db, runs, sessions }: ChatParts,
  run: RunIdentity,
  { resolved, snapshot }: Prepared,
  session: SessionRow | null,
  kept: Kept<ConversationMessage>,
  now: number,
): Step[] {
  const steps: Step[] = [
    countRun(db, { ...run, model: resolved.model }, now),
    runs.event(run, firstEventId(run.epoch) + 1, "run.started", startedData(run), now),
  ]
  if (run.session === null) return steps
  const messages = kept.messages.map((message) => newMessage(message, run.id))
  const holds = session !== null && session.snapshot_key === snapshot.key
  return [
    ...kept.steps,
    ...sessions.append({ id: run.session.id, userId: run.userId }, messages, now),
    holds && !isNew(session, snapshot.parts)
      ? sessions.touch(run.session.id, now)
      : sessions.freeze(run.session.id, snapshot, now),
    ...steps,
  ]
}

/** The key is the same, but an hour without a call (or nothing frozen yet) has brought fresh parts. */
const isNew = (session: SessionRow, parts: unknown) => session.snapshot !== JSON.stringify(parts)

/**
 * A waiting run's turn: it becomes running with its messages in one transaction. Throws `SessionBusy` while another
 * is before it, `RunGone` when it was ended meanwhile.
 */
export async function promoteRun(
  parts: ChatParts,
  run: RunIdentity,
  wish: RunWish,
  kept: Kept<ConversationMessage>,
): Promise<Prepared> {
  const { db, clock, runs, sessions, owner } = parts
  if (run.session === null) throw new Error("only a session's runs wait")
  const session = await sessions.byName(run.agentId, run.session.name)
  if (session?.id !== run.session.id) throw new AppError("conflict", "the session was deleted")
  const prepared = await prepare(parts, run, wish, session)
  const now = clock.now()
  await db.batch([
    sessions.lock(run.session.id),
    ...runs.promote({ ...run, sessionId: run.session.id, model: prepared.resolved.model, owner, now }),
    ...beginSteps(parts, run, prepared, session, kept, now),
  ])
  return prepared
}
