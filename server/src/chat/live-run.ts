import type { Step } from "../db/database.ts"
import type { RunHandle, RunHost } from "../runtime/client.ts"
import type { RunOutcome, RunSpec } from "../runtime/protocol.ts"
import type { Payer, Reservation } from "../usage/usage.ts"
import { createFeed, type Feed } from "./feed.ts"
import type { ChatParts } from "./parts.ts"
import { createRecorder } from "./recorder.ts"
import { firstEventId, type RunEnd, type RunError } from "./rows.ts"
import { createRunWriter, Fenced } from "./run-writer.ts"

/** How long a run outlives its last reader; null: it needs none, or who holds it open cancels it. */
export type Patience = { resumeSeconds: number } | null

export interface RunIdentity {
  id: string
  epoch: number
  userId: string
  agentId: string
  agentName: string
  session: { id: string; name: string } | null
  createdAt: number
}

/** A run that this server owns, from its row's insert to its end. */
export interface LiveRun extends RunIdentity {
  readonly feed: Feed
  readonly state: "queued" | "running" | "ended"
  /** Resolves once the end is durable and readers have it. Never rejects. */
  readonly ended: Promise<RunEnd>
  /** Resolves when every boundary so far can be read from the database. */
  flushed(): Promise<void>
  /** The row says `running`: readers are told, though the runtime may not have it yet. */
  started(): void
  /** Hands the work to the runtime. */
  work(spec: RunSpec): void
  /** Ends it at once where it waits; where it runs, as soon as the runtime has let go. Idempotent. */
  cancel(): void
  /** As `cancel`, but the run has failed. */
  abort(error: RunError): void
  /** Someone else has ended the run in the database already: stop, and tell the readers. */
  lost(end: RunEnd): void
  /** A reader is there until the returned function is called. */
  attach(): () => void
}

const CANCELLED: RunEnd = { state: "cancelled", error: { error: "the run was cancelled", code: "cancelled" } }
const INTERNAL: RunEnd = { state: "failed", error: { error: "internal server error", code: "internal" } }

/** The event that readers get last, and its data. */
export function lastEvent(end: RunEnd): { event: "done" | "error"; data: unknown } {
  if (end.state === "succeeded") return { event: "done", data: end.answer }
  const { extra, ...shown } = end.error
  return { event: "error", data: { ...extra, ...shown } }
}

export function createLiveRun(
  parts: ChatParts,
  identity: RunIdentity,
  patience: Patience,
  /** How someone else ended it, as the database says; null when it says nothing. */
  endFromOutside: (runId: string) => Promise<RunEnd | null>,
): LiveRun {
  const { db, clock, log, runtime, budgets, ports, runs } = parts
  const feed = createFeed(firstEventId(identity.epoch))
  const { promise: ended, resolve } = Promise.withResolvers<RunEnd>()
  const writer = createRunWriter(db, identity, (error) => void writingFailed(error))
  const recorder = createRecorder(parts, identity, feed, writer, () => ending)
  let state: LiveRun["state"] = "queued"
  let ending = false
  /** What the run shall end as, whatever the runtime says. */
  let forced: RunEnd | null = null
  let handle: RunHandle | null = null
  let readers = 0
  let noReader: NodeJS.Timeout | null = null
  let handsUsed = false

  const note = (level: "info" | "warn", message: string) =>
    ports.log({ ...identity, runId: identity.id, source: "agent", level, message })

  function tell(end: RunEnd, id: number): void {
    state = "ended"
    if (noReader !== null) clearTimeout(noReader)
    const { event, data } = lastEvent(end)
    feed.conclude(id, event, data)
    note(end.state === "failed" ? "warn" : "info", wordsOf(end))
    budgets.released(identity.userId)
    resolve(end)
  }

  async function finish(end: RunEnd): Promise<void> {
    if (ending) return
    ending = true
    const id = feed.skip()
    const { event, data } = lastEvent(end)
    const now = clock.now()
    const steps: Step[] = [
      runs.event(identity, id, event, data, now),
      budgets.releaseRun(identity.id),
      ...(db.dialect === "postgres" ? [runs.forgetReaders(identity.id)] : []),
      ...runs.finish(identity, end, now),
    ]
    writer.add({ lastEvent: id, steps })
    // Before the end is told: the next conversation shall begin with what this one has written down.
    const memory = handsUsed
      ? ports
          .handsUsed(identity.userId, identity.agentId)
          .catch((error: unknown) => log.warn("an agent's memory could not be read again", { error }))
      : null
    try {
      await memory
      await writer.flushed()
      tell(end, id)
    } catch (error) {
      if (!(error instanceof Fenced)) log.error("a run's end could not be stored", { runId: identity.id, error })
      const real = await endFromOutside(identity.id).catch(() => null)
      tell(real ?? forced ?? INTERNAL, id)
    }
  }

  /** Nothing more of the run can be stored: it must not go on. */
  async function writingFailed(error: unknown): Promise<void> {
    if (!(error instanceof Fenced)) log.error("a run could not be stored", { runId: identity.id, error })
    forced ??= INTERNAL
    if (handle !== null) handle.cancel()
    else void finish(forced)
  }

  const hostHands: RunHost["hands"] = watched(ports.hands({ ...identity, runId: identity.id }), () => {
    handsUsed = true
  })
  const payer: Payer = { ...identity, runId: identity.id, owner: parts.owner }
  const reservations = new Map<number, Reservation>()

  const host: RunHost = {
    hands: hostHands,
    onEvent(event) {
      if (!ending) recorder.onEvent(event)
    },
    async reserve(callId, request, signal) {
      const { answer, reservation } = await budgets.reserve(payer, request, signal)
      if (reservation === null) return answer
      reservations.set(callId, reservation)
      const { unwritten } = reservation
      if (unwritten.length > 0) writer.add({ lastEvent: feed.lastId, steps: unwritten })
      return answer
    },
    async settle(callId, usage) {
      const reservation = reservations.get(callId)
      reservations.delete(callId)
      if (reservation === undefined) return
      // Together with the message that the call brought, if that comes at once.
      const always = budgets.settleSteps(reservation, usage)
      writer.add({ lastEvent: feed.lastId, steps: [], always, done: () => budgets.released(identity.userId) })
    },
  }

  function endOf(outcome: RunOutcome): RunEnd {
    if (forced !== null && outcome.type !== "succeeded") return forced
    switch (outcome.type) {
      case "cancelled":
        return CANCELLED
      case "failed": {
        const { code, message, extra } = outcome
        return { state: "failed", error: { error: message, code, ...(extra ? { extra } : {}) } }
      }
      case "succeeded":
        return {
          state: "succeeded",
          answer: {
            message: outcome.text,
            agent: identity.agentName,
            session: identity.session?.name ?? null,
            run_id: identity.id,
            stop_reason: outcome.stopReason,
            usage: outcome.usage,
            tool_calls: recorder.toolCalls(),
          },
        }
    }
  }

  function stopWith(end: RunEnd): void {
    if (ending) return
    forced ??= end
    if (handle !== null) handle.cancel()
    else void finish(forced)
  }

  function waitForReader(ms: number): void {
    noReader = setTimeout(() => {
      runs
        .readerElsewhere(identity.id)
        .catch(() => 0)
        .then((until) => {
          if (readers > 0 || state === "ended") return
          const left = until - clock.now()
          if (left > 0) waitForReader(left + ms)
          else live.cancel()
        })
    }, ms)
  }

  const live: LiveRun = {
    ...identity,
    feed,
    get state() {
      return state
    },
    ended,
    flushed: () => writer.flushed(),
    started() {
      if (ending) return
      state = "running"
      feed.start(startedData(identity))
    },
    work(spec) {
      if (ending) return
      handle = runtime.run(spec, host)
      handle.outcome
        .then((outcome) => finish(endOf(outcome)))
        .catch((error: unknown) => {
          log.error("a run did not end as it should", { runId: identity.id, error })
        })
    },
    cancel: () => stopWith(CANCELLED),
    abort: (error) => stopWith({ state: "failed", error }),
    lost(end) {
      if (ending) return
      forced = end
      if (handle !== null) handle.cancel()
      else void finish(end)
    },
    attach() {
      readers++
      if (noReader !== null) clearTimeout(noReader)
      noReader = null
      let gone = false
      return () => {
        if (gone) return
        gone = true
        readers--
        if (readers > 0 || patience === null || state === "ended") return
        waitForReader(patience.resumeSeconds * 1000)
      }
    },
  }
  return live
}

export const startedData = (run: RunIdentity) => ({
  run_id: run.id,
  agent: run.agentName,
  session: run.session?.name ?? null,
})

function wordsOf(end: RunEnd): string {
  if (end.state !== "succeeded") return end.state === "cancelled" ? "run cancelled" : `run failed: ${end.error.error}`
  const { usage, tool_calls } = end.answer
  return `run done: ${usage.total_tokens} tokens, ${tool_calls.length} tool calls`
}

/** Calls `used` at each call of the hands. */
function watched(hands: RunHost["hands"], used: () => void): RunHost["hands"] {
  return new Proxy(hands, {
    get(target, name, receiver) {
      used()
      return Reflect.get(target, name, receiver)
    },
  })
}
