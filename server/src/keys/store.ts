import type { Database, Step } from "../db/database.ts"
import { preparedInsert, preparedOne } from "../db/prepared.ts"
import type { KeyKind, Schema } from "../db/schema.ts"

/** A key's row with the keys it was opened with and its user; the left joins tell what is gone. */
export type KeyRow = NonNullable<Awaited<ReturnType<KeyStore["find"]>>>
export type KeyStore = ReturnType<typeof keyStore>

const NO_KEY: Schema["api_keys"] = {
  hash: "",
  kind: "user",
  user_id: null,
  agent_id: null,
  parent_hash: null,
  created_at: 0,
  expires_at: null,
  impersonated_by: null,
}

export function keyStore(db: Database) {
  const find = preparedOne<FindRow, [string]>(db, findQuery(db))
  const insert = preparedInsert(db, "api_keys", NO_KEY)
  const keys = () => db.kysely.deleteFrom("api_keys")
  /** Keys that were opened with those of `parents`, also at one remove. */
  const below = (parents: ReturnType<typeof selectHashes>) =>
    keys().where((e) =>
      e.or([
        e("parent_hash", "in", parents),
        e("parent_hash", "in", db.kysely.selectFrom("api_keys").select("hash").where("parent_hash", "in", parents)),
      ]),
    )
  const selectHashes = (owner: Owner) =>
    db.kysely
      .selectFrom("api_keys")
      .select("hash")
      .where("kind", "=", owner.kind)
      .where("user_id", owner.userId === null ? "is" : "=", owner.userId)
      .where("agent_id", owner.agentId === null ? "is" : "=", owner.agentId)

  return {
    find,

    insert: (row: Schema["api_keys"]): Step => ({ query: insert(row), rows: 1 }),

    /** An administrator's key that stands already stays as it is, with what was opened with it. */
    keep(row: Schema["api_keys"]): Step {
      return {
        query: db.kysely
          .insertInto("api_keys")
          .values(row)
          .onConflict((c) => c.column("hash").doNothing()),
      }
    },

    /** Removes an owner's keys of a kind, and what was opened with them, but for `except`. */
    revoke(owner: Owner, except: string | null = null): Step[] {
      const all = selectHashes(owner)
      const gone = except === null ? all : all.where("hash", "<>", except)
      return [{ query: below(gone) }, { query: keys().where("hash", "in", gone) }]
    },

    /** Lets an owner's keys of a kind end at `at`, unless they end before. */
    expire(owner: Owner, at: number): Step {
      return {
        query: db.kysely
          .updateTable("api_keys")
          .set({ expires_at: at })
          .where("hash", "in", selectHashes(owner))
          .where((e) => e.or([e("expires_at", "is", null), e("expires_at", ">", at)])),
      }
    },

    revokeOne(hash: string): Step[] {
      const one = db.kysely.selectFrom("api_keys").select("hash").where("hash", "=", hash)
      return [{ query: below(one) }, { query: keys().where("hash", "=", hash) }]
    },

    ofUser: (userId: string): Step => ({ query: keys().where("user_id", "=", userId) }),

    ofAgent: (userId: string, agentId: string): Step => ({
      query: keys().where("user_id", "=", userId).where("agent_id", "=", agentId),
    }),

    /** Takes a one-time link away and tells whom it was for. */
    takeLink(hash: string, now: number) {
      const parents = db.kysely.selectFrom("api_keys as parent").select("parent.hash")
      return {
        query: keys()
          .where("hash", "=", hash)
          .where("kind", "=", "link")
          .where("expires_at", ">", now)
          .where((e) => e.or([e("parent_hash", "is", null), e("parent_hash", "in", parents)]))
          .returning("user_id"),
      } satisfies Step
    },

    /** The owner's key that counts now; undefined where there is none. */
    current: (owner: Owner) =>
      selectHashes(owner).where("expires_at", "is", null).orderBy("created_at", "desc").limit(1).executeTakeFirst(),

    /** What has ended, and what hung on it. */
    sweep(now: number): Step[] {
      const ended = db.kysely.selectFrom("api_keys").select("hash").where("expires_at", "<=", now)
      return [{ query: below(ended) }, { query: keys().where("expires_at", "<=", now) }]
    },
  }
}

/** Whose keys of which kind. Null ids: an administrator's, or a user's own. */
export interface Owner {
  kind: KeyKind
  userId: string | null
  agentId: string | null
}

type FindRow = ReturnType<typeof findQuery> extends { execute(): Promise<(infer Row)[]> } ? Row : never

function findQuery(db: Database) {
  return db.read
    .selectFrom("api_keys as k")
    .leftJoin("api_keys as p", "p.hash", "k.parent_hash")
    .leftJoin("api_keys as g", "g.hash", "p.parent_hash")
    .leftJoin("users as u", "u.id", "k.user_id")
    .select([
      "k.hash",
      "k.kind",
      "k.user_id",
      "k.agent_id",
      "k.expires_at",
      "k.impersonated_by",
      "k.parent_hash",
      "p.hash as parent_found",
      "p.expires_at as parent_expires_at",
      "p.parent_hash as grandparent_hash",
      "g.hash as grandparent_found",
      "g.expires_at as grandparent_expires_at",
      "u.state",
      "u.tier",
      "u.limits",
    ])
    .where("k.hash", "=", "")
}
