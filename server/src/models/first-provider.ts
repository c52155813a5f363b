import type { Database } from "../db/database.ts"
import { PROVIDERS } from "../runtime/providers.ts"

const NAME = "had_provider_key"

/**
 * The provider whose key the platform was first started with; null while it never had one. Kept for ever: a platform
 * that loses its keys must say so instead of falling back to the demo model.
 */
export async function firstProvider(db: Database, platform: Readonly<Record<string, string>>): Promise<string | null> {
  const kept = await db.read.selectFrom("meta").select("value").where("name", "=", NAME).executeTakeFirst()
  if (kept !== undefined) return kept.value
  const first = PROVIDERS.find((provider) => provider.keyVariables.some((name) => platform[name] !== undefined))
  if (first === undefined) return null
  const row = { name: NAME, value: first.id }
  await db.batch([
    {
      query: db.kysely
        .insertInto("meta")
        .values(row)
        .onConflict((c) => c.column("name").doNothing()),
    },
  ])
  return first.id
}
