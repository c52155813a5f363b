import type { TemplateName, TemplateTexts } from "@autonomis/contract/templates.ts"
import type { Database, Step } from "../db/database.ts"
import type { Schema } from "../db/schema.ts"

/** Where a text stands: for the whole platform, for a user, or for one agent. */
export type Place =
  | { scope: "platform"; ownerId: ""; userId: null }
  | { scope: "user"; ownerId: string; userId: string }
  | { scope: "agent"; ownerId: string; userId: string }

export type Texts = Partial<Record<TemplateName, string>>

export function templateStore(db: Database) {
  return {
    /** What is set at each of the places, by scope. */
    async read(places: readonly Place[]): Promise<Record<Schema["templates"]["scope"], Texts>> {
      const rows = await db.read
        .selectFrom("templates")
        .select(["scope", "name", "text"])
        .where((e) =>
          e.or(places.map(({ scope, ownerId }) => e.and([e("scope", "=", scope), e("owner_id", "=", ownerId)]))),
        )
        .execute()
      const found: Record<Schema["templates"]["scope"], Record<string, string>> = { platform: {}, user: {}, agent: {} }
      for (const { scope, name, text } of rows) found[scope][name] = text
      return found
    },

    /** Sets those that are named; null takes one away. */
    merge({ scope, ownerId, userId }: Place, texts: TemplateTexts, now: number): Step[] {
      return Object.entries(texts).map(([name, text]) => {
        if (text === null || text === undefined)
          return {
            query: db.kysely
              .deleteFrom("templates")
              .where("scope", "=", scope)
              .where("owner_id", "=", ownerId)
              .where("name", "=", name),
          }
        return {
          query: db.kysely
            .insertInto("templates")
            .values({ scope, owner_id: ownerId, user_id: userId, name, text, updated_at: now })
            .onConflict((c) => c.columns(["scope", "owner_id", "name"]).doUpdateSet({ text, updated_at: now })),
          rows: 1,
        }
      })
    },

    /** Sessions of the agents concerned take a new prompt at their next message. */
    raisePromptVersion({ scope, ownerId, userId }: Place): Step {
      let query = db.kysely.updateTable("agents").set((e) => ({ prompt_version: e("prompt_version", "+", 1) }))
      if (userId !== null) query = query.where("user_id", "=", userId)
      if (scope === "agent") query = query.where("id", "=", ownerId)
      return { query }
    },
  }
}
