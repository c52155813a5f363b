import type { Database, Step } from "../db/database.ts"
import type { Origin } from "../http/endpoint.ts"
import { newId } from "../lib/ids.ts"

export interface Change {
  /** The account concerned; null for the platform itself. */
  userId: string | null
  /** `agents.create`, in the words of the endpoint table. */
  action: string
  /** What was changed, as a person would name it: `user:ada`, `agent:ada/manager`, `secret:ada/GITHUB_TOKEN`. */
  target: string
}

const MAX_TARGET = 500

/** The audit's row of a change: put it into the same `db.batch`, so that no change stands without it nor it without one. */
export function auditStep(db: Database, origin: Origin, change: Change, now: number): Step {
  return {
    query: db.kysely.insertInto("audit").values({
      id: newId("aud", now),
      user_id: change.userId,
      actor: origin.actor,
      action: change.action,
      target: change.target.slice(0, MAX_TARGET),
      ip: origin.ip,
      request_id: origin.requestId,
      created_at: now,
    }),
    rows: 1,
  }
}
