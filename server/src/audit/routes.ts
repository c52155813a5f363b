import { contract } from "@autonomis/contract/endpoints.ts"
import type { AuditEntry } from "@autonomis/contract/usage.ts"
import type { Database } from "../db/database.ts"
import { endpoint, type Route } from "../http/endpoint.ts"
import { iso } from "../lib/clock.ts"
import { decodeCursor, page } from "../lib/cursor.ts"

interface AuditQuery {
  limit: number
  cursor?: string | undefined
}

export function auditRoutes(db: Database): Route[] {
  return [
    endpoint(contract.usage.audit, ({ user, query }) => listAudit(db, user.id, query)),
    endpoint(contract.usage.platformAudit, ({ query }) => listAudit(db, null, query)),
  ]
}

/** The newest first; `userId` null: of the whole platform. Ids sort by their time. */
async function listAudit(db: Database, userId: string | null, { limit, cursor }: AuditQuery) {
  const after = decodeCursor(cursor, ["string"])
  let query = db.read.selectFrom("audit").selectAll()
  if (userId !== null) query = query.where("user_id", "=", userId)
  if (after !== null) query = query.where("id", "<", after[0])
  const read = await query
    .orderBy("id", "desc")
    .limit(limit + 1)
    .execute()
  const { rows, nextCursor } = page(read, limit, (row) => [row.id])
  const entries = rows.map((row): AuditEntry => {
    const { actor, action, target, ip, request_id, created_at } = row
    return { time: iso(created_at), actor, action, target, ip, request_id }
  })
  return { entries, next_cursor: nextCursor }
}
