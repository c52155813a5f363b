import type { ErrorCode } from "@autonomis/contract/errors.ts"
import type { Limits } from "@autonomis/contract/plans.ts"
import type { Database, Step } from "../db/database.ts"
import { type Clock, iso } from "../lib/clock.ts"
import { newId } from "../lib/ids.ts"
import type { ReserveAnswer, ReserveRequest } from "../runtime/protocol.ts"
import type { RunUsage } from "../runtime/transcript.ts"
import { dayOf, nextDay, nextMonth } from "./calendar.ts"
import { bookLost, ifLost, settled } from "./lost.ts"
import { toNano, toUsd } from "./money.ts"
import { amountsOf, type Dimension, type DimensionName, guardSteps, lockSteps, NoRoom } from "./reservations.ts"
import { isPriced, roomFor, type Shortage, worstCost } from "./room.ts"
import { addToDay, NOBODY } from "./store.ts"

/** How long a call waits that fits only once others have settled, and how often it looks (another server may settle). */
const WAIT_MS = 10_000
const LOOK_EVERY_MS = 250

/** The run that a call belongs to. */
export interface Payer {
  userId: string
  agentId: string
  agentName: string
  runId: string
  /** The boot that runs it. */
  owner: string
}

/** What a granted call holds until it is settled. */
export interface Reservation {
  id: string
  payer: Payer
  request: ReserveRequest
  createdAt: number
  /** Where nothing limits the call its row is still to be written, at leisure: it only matters if this server dies. */
  unwritten: Step[]
}

export type Reserved =
  | { answer: Extract<ReserveAnswer, { ok: true }>; reservation: Reservation }
  | { answer: Extract<ReserveAnswer, { ok: false }>; reservation: null }

/** Hard budgets: no call begins whose worst case is not covered, whatever other calls do at the same time. */
export interface Budgets {
  reserve(payer: Payer, request: ReserveRequest, signal: AbortSignal): Promise<Reserved>
  /** Books what the call really took and frees the rest; null: it never reached the provider. Nothing for a user who is gone. */
  settleSteps(reservation: Reservation, usage: RunUsage | null): Step[]
  /** Frees whatever a run that has ended still holds; goes into the batch of its end. */
  releaseRun(runId: string): Step
  /** Books what calls still hold whose server died, as estimates that are marked, and frees it. */
  bookLost(which: { runId: string } | { withoutRun: (owner: string, createdAt: number) => boolean }): Promise<void>
  /** To be called once a reservation is settled or released: someone may be waiting for what it held. */
  released(userId: string): void
}

export interface BudgetOptions {
  db: Database
  clock: Clock
  /** Asked before each call, so that a change holds from the next call on. Null: the user is gone. */
  limits(userId: string): Promise<Limits | null>
  platformUsdPerDay: number | null
  waitMs?: number
}

export function createBudgets({ db, clock, limits, platformUsdPerDay, waitMs = WAIT_MS }: BudgetOptions): Budgets {
  const waiting = new Set<{ userId: string; wake: () => void }>()

  /** The first in the line: once it has what it waits for it wakes the next. All at once would only look in vain. */
  function wake(userId: string): void {
    for (const waiter of waiting) {
      if (waiter.userId !== userId && platformUsdPerDay === null) continue
      waiter.wake()
      return
    }
  }

  /** Until something was settled, the next look is due, or the signal aborts. */
  function settledOrDue(userId: string, withinMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer)
        waiting.delete(waiter)
        signal.removeEventListener("abort", done)
        resolve()
      }
      const waiter = { userId, wake: done }
      const timer = setTimeout(done, withinMs)
      waiting.add(waiter)
      signal.addEventListener("abort", done, { once: true })
    })
  }

  function rowOf(payer: Payer, request: ReserveRequest) {
    const cost = worstCost(request)
    return {
      id: newId("rsv"),
      user_id: payer.userId,
      run_id: payer.runId,
      owner: payer.owner,
      tokens: request.inputTokens + request.maxTokens,
      cost_nano: cost,
      platform_cost_nano: request.credentialsOwner === "platform" ? cost : 0,
      created_at: clock.now(),
      if_lost: ifLost(payer, request),
    }
  }

  /** The reservation, written if it still fits; null when another came in between. */
  async function write(payer: Payer, request: ReserveRequest, dimensions: Dimension[]): Promise<Reservation | null> {
    const row = rowOf(payer, request)
    try {
      await db.batch([
        ...lockSteps(db, payer.userId, dimensions),
        ...guardSteps(db, payer.userId, dimensions, row),
        { query: db.kysely.insertInto("reservations").values(row) },
      ])
      return { id: row.id, payer, request, createdAt: row.created_at, unwritten: [] }
    } catch (error) {
      if (error instanceof NoRoom) return null
      throw error
    }
  }

  return {
    async reserve(payer, request, signal) {
      const deadline = performance.now() + waitMs
      let hasWaited = false
      for (;;) {
        const limit = await limits(payer.userId)
        if (limit === null) return refused("not_found", "user not found")
        const dimensions = dimensionsOf(limit, request, platformUsdPerDay, clock.now())
        const money = dimensions.find(({ name }) => name !== "tokens_per_month")
        if (money !== undefined && hasUnknownPrice(request)) return unpriced(money)
        if (dimensions.length === 0) {
          const row = rowOf(payer, request)
          const unwritten = [{ query: db.kysely.insertInto("reservations").values(row) }]
          return granted({ id: row.id, payer, request, createdAt: row.created_at, unwritten })
        }
        const amounts = await amountsOf(db, payer.userId, dimensions)
        if (signal.aborted) return refused("cancelled", "the run was cancelled")
        const now = roomFor(request, amounts, "now")
        if (now.fits) {
          const lowered = { ...request, maxTokens: now.maxTokens }
          const reservation = await write(payer, lowered, dimensions)
          if (reservation === null) continue
          if (hasWaited) wake(payer.userId)
          return granted(reservation)
        }
        const later = roomFor(request, amounts, "once the others have settled")
        if (!later.fits) return exhausted(later, "when it is new")
        const leftMs = deadline - performance.now()
        if (leftMs <= 0) return exhausted(now, "when others have settled")
        hasWaited = true
        await settledOrDue(payer.userId, Math.min(leftMs, LOOK_EVERY_MS), signal)
      }
    },

    settleSteps(reservation, usage) {
      const { payer, request } = reservation
      // First its own row, then the sums: so does who books it as lost.
      const steps: Step[] = [settled(db, reservation)]
      if (usage !== null) {
        const key = { ...payer, model: request.model, day: dayOf(clock.now()) }
        const platformPays = request.credentialsOwner === "platform"
        steps.push(addToDay(db, key, { usage, platformPays, runs: 0 }))
      }
      return steps
    },

    releaseRun: (runId) => ({ query: db.kysely.deleteFrom("reservations").where("run_id", "=", runId) }),
    async bookLost(which) {
      const held = db.read
        .selectFrom("reservations")
        .select(["id", "user_id", "if_lost", "created_at", "owner"])
        .where("owner", "<>", NOBODY)
      const open = db.read.selectFrom("runs").select("id").where("finished_at", "is", null)
      const rows =
        "runId" in which
          ? await held.where("run_id", "=", which.runId).execute()
          : (await held.where("run_id", "not in", open).execute()).filter((row) =>
              which.withoutRun(row.owner, row.created_at),
            )
      for (const row of rows) await bookLost(db, row, clock.now())
      for (const userId of new Set(rows.map((row) => row.user_id))) wake(userId)
    },
    released: wake,
  }
}

function dimensionsOf(
  limits: Limits,
  request: ReserveRequest,
  platformUsdPerDay: number | null,
  now: number,
): Dimension[] {
  const dimensions: Dimension[] = []
  const add = (name: DimensionName, most: number | null) => {
    if (most !== null) dimensions.push({ name, most, now })
  }
  const money = (usd: number | null) => (usd === null ? null : toNano(usd))
  add("tokens_per_month", limits.tokens_per_month)
  if (isPriced(request) || hasUnknownPrice(request)) {
    add("usd_per_month", money(limits.usd_per_month))
    add("usd_per_day", money(limits.usd_per_day))
    if (request.credentialsOwner === "platform") add("platform_usd_per_day", money(platformUsdPerDay))
  }
  return dimensions
}

const granted = (reservation: Reservation): Reserved => ({
  answer: { ok: true, maxTokens: reservation.request.maxTokens },
  reservation,
})

function refused(code: ErrorCode, message: string, extra?: Record<string, unknown>): Reserved {
  return { answer: { ok: false, code, message, ...(extra ? { extra } : {}) }, reservation: null }
}

const WORDS: Record<DimensionName, string> = {
  tokens_per_month: "this month's tokens",
  usd_per_month: "this month's budget",
  usd_per_day: "today's budget",
  platform_usd_per_day: "the platform's budget for today",
}

/** What the platform's key pays for must have a price; what users pay for with a key of their own is theirs to judge. */
const hasUnknownPrice = (request: ReserveRequest): boolean =>
  !request.isPriceKnown && request.credentialsOwner === "platform"

function unpriced({ name }: Dimension): Reserved {
  const message = "the price of this model is not known, so it cannot be used while a limit in USD is in force"
  return refused("budget_exhausted", message, { limit: name, left: 0 })
}

/** What is left is told in tokens or USD; of the platform's own ceiling, which others use too, nothing is told. */
function exhausted({ dimension, left }: Shortage, retry: "when it is new" | "when others have settled"): Reserved {
  const { name, now } = dimension
  const shown = name === "platform_usd_per_day" ? 0 : name === "tokens_per_month" ? left : toUsd(left)
  const resetsMs = name.endsWith("month") ? nextMonth(now) : nextDay(now)
  const resetsAt = iso(resetsMs)
  const retryMs = retry === "when it is new" ? resetsMs - now : WAIT_MS
  return refused("budget_exhausted", `${WORDS[name]} is used up: ${shown} left, new at ${resetsAt}`, {
    limit: name,
    left: shown,
    resets_at: resetsAt,
    retry_after_seconds: Math.max(1, Math.ceil(retryMs / 1000)),
  })
}
