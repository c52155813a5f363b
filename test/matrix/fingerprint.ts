import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { Database } from "../../server/src/db/database.ts"
import type { Schema } from "../../server/src/db/schema.ts"

/** Everything that a request could change. Left out: what only passes (answers kept for a day, logs). */
const TABLES: (keyof Schema)[] = [
  ..."users api_keys agents templates secrets skills sessions messages runs run_events usage_daily".split(" "),
  ..."reservations attachments audit meta".split(" "),
] as (keyof Schema)[]

/** Differs when anything of that has changed. */
export async function fingerprint(db: Database, dataDir: string): Promise<Record<string, string>> {
  const prints: Record<string, string> = {}
  for (const table of TABLES) {
    const rows = await db.read.selectFrom(table).selectAll().execute()
    prints[table] = `${rows.length} ${sha256(
      rows
        .map((row) => JSON.stringify(row))
        .sort()
        .join("\n"),
    )}`
  }
  const users = join(dataDir, "users")
  const files = readdirSync(users, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  prints.files = sha256(
    files
      .map((f) => join(f.parentPath, f.name))
      .sort()
      .map((f) => f + sha256(readFileSync(f)))
      .join("\n"),
  )
  return prints
}
const sha256 = (data: string | Buffer) => createHash("sha256").update(data).digest("hex")
