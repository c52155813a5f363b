import { z } from "zod"
import type { Database, Step } from "../db/database.ts"
import type { ReserveRequest } from "../runtime/protocol.ts"
import { RunUsage } from "../runtime/transcript.ts"
import { usageIfLost } from "../runtime/usage.ts"
import type { Reservation } from "./budgets.ts"
import { dayOf } from "./calendar.ts"
import { addToDay, NOBODY, takeBack } from "./store.ts"

const IfLost = z.object({
  agentId: z.string(),
  agentName: z.string(),
  model: z.string(),
  platformPays: z.boolean(),
  usage: RunUsage,
})

/** For the row of a reservation: what its call is booked as if its server dies before it is settled. */
export function ifLost(payer: { agentId: string; agentName: string }, request: ReserveRequest): string {
  const { agentId, agentName } = payer
  const platformPays = request.credentialsOwner === "platform"
  const lost: z.infer<typeof IfLost> = {
    ...{ agentId, agentName, platformPays },
    model: request.model,
    usage: usageIfLost(request),
  }
  return JSON.stringify(lost)
}

/** Thrown inside the batch when the call was settled in between. */
class Settled extends Error {
  override readonly name = "Settled"
}

export interface HeldRow {
  id: string
  user_id: string
  if_lost: string | null
  created_at: number
}

/** A server that was silent for longer has died: nobody will settle its calls late. */
const LATE_MS = 24 * 3600_000

/** Books, as an estimate that is marked, a call that nobody may settle any more, and frees what it held; once. */
export async function bookLost(db: Database, row: HeldRow, now: number): Promise<void> {
  const { id, user_id, if_lost, created_at } = row
  const steps: Step[] = [{ query: free(db, id), rows: 1, otherwise: () => new Settled() }]
  if (if_lost !== null) {
    const { usage, platformPays, ...key } = IfLost.parse(JSON.parse(if_lost))
    const day = dayOf(created_at)
    steps.push(addToDay(db, { ...key, userId: user_id, day }, { usage, platformPays, runs: 0 }))
  }
  const late = db.kysely
    .deleteFrom("reservations")
    .where("owner", "=", NOBODY)
    .where("created_at", "<", now - LATE_MS)
  if (db.dialect === "postgres") steps.push({ query: late })
  try {
    await db.batch(steps)
  } catch (error) {
    if (!(error instanceof Settled)) throw error
  }
}

/** On PostgreSQL the row stays: its server may only have been silent, and then has to know that the call was booked. */
function free(db: Database, id: string) {
  if (db.dialect === "sqlite") return db.kysely.deleteFrom("reservations").where("id", "=", id)
  return db.kysely
    .updateTable("reservations")
    .set({ owner: NOBODY, tokens: 0, cost_nano: 0, platform_cost_nano: 0 })
    .where("id", "=", id)
    .where("owner", "<>", NOBODY)
}

/** Frees what a call held whose server lives. Was it booked as lost meanwhile, that is taken back. */
export function settled(db: Database, reservation: Reservation): Step {
  const { id, payer, request, createdAt } = reservation
  if (db.dialect === "sqlite") return { query: db.kysely.deleteFrom("reservations").where("id", "=", id) }
  const key = { ...payer, model: request.model, day: dayOf(createdAt) }
  const platformPays = request.credentialsOwner === "platform"
  return takeBack(db, id, key, { usage: usageIfLost(request), platformPays, runs: 0 })
}
