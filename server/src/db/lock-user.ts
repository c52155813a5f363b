import type { Database, Step } from "./database.ts"
import { noSuchUser } from "./for-user.ts"

/**
 * The first step of a batch that counts what a user has before it adds to it: until the batch commits, no other that
 * begins so gets past it. 404 when the user is gone or going; with `tier`, `otherwise` when the user has another by now.
 */
export function lockUser(
  db: Database,
  userId: string,
  expected: { tier?: string } = {},
  otherwise: () => Error = noSuchUser,
): Step {
  let query = db.kysely.selectFrom("users").select("id").where("id", "=", userId).where("state", "<>", "deleting")
  if (expected.tier !== undefined) query = query.where("tier", "=", expected.tier)
  return { query: db.dialect === "postgres" ? query.forUpdate() : query, rows: 1, otherwise }
}
