import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, describe } from "node:test"
import { sql } from "kysely"
import type { Database } from "../server/src/db/database.ts"
import { migrate } from "../server/src/db/migrate.ts"
import { openPostgres } from "../server/src/db/postgres.ts"
import { openSqlite } from "../server/src/db/sqlite.ts"
import { freshName, postgresUrl, stopOwnPostgres } from "./postgres.ts"

/** A database of one test's own; `await using` closes and removes it. */
export interface TestDatabase extends Database {
  /** A second handle on the same data: another server, or the same one after a restart. */
  another(): Promise<Database>
}

export type DatabaseName = Database["dialect"]

/**
 * Runs the same tests on SQLite (a temporary file) and on a real PostgreSQL (a schema of its own):
 *
 * ```ts
 * forEachDatabase((name, open) => {
 *   test("a guarantee", async () => {
 *     await using db = await open()   // empty, migrated
 *   })
 * })
 * ```
 * What a test leaves open is closed after its block.
 */
export function forEachDatabase(tests: (name: DatabaseName, open: () => Promise<TestDatabase>) => void): void {
  for (const name of ["sqlite", "postgres"] as const) {
    describe(name, () => {
      const opened: TestDatabase[] = []
      after(async () => {
        for (const db of opened) await db[Symbol.asyncDispose]()
      })
      tests(name, async () => {
        const db = name === "sqlite" ? await freshSqlite() : await freshPostgres()
        opened.push(db)
        return db
      })
    })
  }
  after(stopOwnPostgres)
}

/** A fresh migrated SQLite database in a temporary folder. */
export async function freshSqlite(): Promise<TestDatabase> {
  const folder = mkdtempSync(join(tmpdir(), "autonomis-db-"))
  const file = join(folder, "autonomis.db")
  return prepared(
    async () => openSqlite(file),
    async () => rmSync(folder, { recursive: true, force: true }),
  )
}

/** The address of a new empty database on the shared PostgreSQL: for a whole server. */
export async function freshPostgresUrl(): Promise<AsyncDisposable & { url: string }> {
  const url = new URL(await postgresUrl())
  const name = freshName()
  await administer(`create database ${name}`)
  url.pathname = `/${name}`
  return { url: url.href, [Symbol.asyncDispose]: () => administer(`drop database ${name} with (force)`) }
}

async function administer(statement: string): Promise<void> {
  await using db = openPostgres(await postgresUrl(), () => {})
  await sql.raw(statement).execute(db.kysely)
}

/** A fresh migrated schema on the shared PostgreSQL. */
export async function freshPostgres(): Promise<TestDatabase> {
  const url = await postgresUrl()
  const schema = freshName()
  await administer(`create schema ${schema}`)
  return prepared(
    async () => openPostgres(url, () => {}, schema),
    () => administer(`drop schema ${schema} cascade`),
  )
}

async function prepared(open: () => Promise<Database>, remove: () => Promise<void>): Promise<TestDatabase> {
  const others: Database[] = []
  const db = await open()
  await migrate(db, Date.now())
  const close = once(async () => {
    for (const one of [...others, db]) await one[Symbol.asyncDispose]()
    await remove()
  })
  return {
    ...db,
    async another() {
      const one = await open()
      others.push({ ...one, [Symbol.asyncDispose]: once(() => one[Symbol.asyncDispose]()) })
      return others.at(-1) ?? one
    },
    [Symbol.asyncDispose]: close,
  }
}

/** A test may close what is closed again with everything else. */
function once(close: () => PromiseLike<void>): () => Promise<void> {
  let closing: Promise<void> | null = null
  return () => {
    closing ??= Promise.resolve(close())
    return closing
  }
}
