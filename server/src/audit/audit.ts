import type { Database, Step } from "../db/database.ts"
import { preparedInsert } from "../db/prepared.ts"
import type { Schema } from "../db/schema.ts"
import type { Origin } from "../http/endpoint.ts"
import { newId } from "../lib/ids.ts"
import { remember } from "../lib/remember.ts"

export interface Change {
  /** The account concerned; null for the platform itself. */
  userId: string | null
  /** `agents.create`, in the words of the endpoint table. */
  action: string
  /** What was changed, as a person would name it: `user:ada`, `agent:ada/manager`, `secret:ada/GITHUB_TOKEN`. */
  target: string
}

const MAX_TARGET = 500

const NOTHING: Schema["audit"] = {
  id: "",
  user_id: null,
  actor: "",
  action: "",
  target: "",
  ip: null,
  request_id: "",
  created_at: 0,
}
const insertOn = remember((db: Database) => preparedInsert(db, "audit", NOTHING))

/** The audit's row of a change: put it into the same `db.batch`, so that no change stands without it nor it without one. */
export function auditStep(db: Database, origin: Origin, change: Change, now: number): Step {
  return {
    query: insertOn(db)({
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
