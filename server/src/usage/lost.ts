import { z } from "zod"
import type { Database, Step } from "../db/database.ts"
import type { ReserveRequest } from "../runtime/protocol.ts"
import { RunUsage } from "../runtime/transcript.ts"
import { usageIfLost } from "../runtime/usage.ts"
import { dayOf } from "./calendar.ts"
import { addToDay } from "./store.ts"

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

/** Books, as an estimate that is marked, a call that nobody will settle any more, and frees what it held; once. */
export async function bookLost(db: Database, { id, user_id, if_lost, created_at }: HeldRow): Promise<void> {
  const steps: Step[] = [
    {
      query: db.kysely.deleteFrom("reservations").where("id", "=", id),
      rows: 1,
      otherwise: () => new Settled(),
    },
  ]
  if (if_lost !== null) {
    const { usage, platformPays, ...key } = IfLost.parse(JSON.parse(if_lost))
    const day = dayOf(created_at)
    steps.push(addToDay(db, { ...key, userId: user_id, day }, { usage, platformPays, runs: 0 }))
  }
  try {
    await db.batch(steps)
  } catch (error) {
    if (!(error instanceof Settled)) throw error
  }
}
