import type { Database } from "../db/database.ts"
import { forUser } from "../db/for-user.ts"

/** Bytes of a user's transcripts, attachments and skills: all that counts as storage beside the workspaces. */
export async function keptBytes(db: Database, userId: string): Promise<number> {
  const user = forUser(db, userId)
  const sums = await Promise.all([
    user
      .select("messages")
      .select((e) => e.fn.sum<number | null>("messages.size_bytes").as("bytes"))
      .executeTakeFirst(),
    user
      .select("attachments")
      .select((e) => e.fn.sum<number | null>("attachments.size_bytes").as("bytes"))
      .executeTakeFirst(),
    user
      .select("skills")
      .select((e) => e.fn.sum<number | null>("skills.size_bytes").as("bytes"))
      .executeTakeFirst(),
  ])
  return sums.reduce((all, row) => all + (row?.bytes ?? 0), 0)
}
