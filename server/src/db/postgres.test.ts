import assert from "node:assert/strict"
import { after, test } from "node:test"
import { sql } from "kysely"
import pg from "pg"
import { freshPostgres } from "../../../test/databases.ts"
import { postgresUrl, stopOwnPostgres } from "../../../test/postgres.ts"
import { until } from "../../../test/until.ts"
import type { Database } from "./database.ts"
import { createReads } from "./postgres-reads.ts"
import { prepared } from "./prepared.ts"

after(stopOwnPostgres)

const reader = (db: Database) =>
  prepared<{ value: string }, [string]>(db, db.read.selectFrom("meta").select("value").where("name", "=", ""))
const insert = (db: Database, name: string, value = name) => ({
  query: db.kysely.insertInto("meta").values({ name, value }),
  rows: 1,
})

test("each of many reads at once gets its own row", async () => {
  await using db = await freshPostgres()
  const names = Array.from({ length: 2500 }, (_, i) => `n${i}`)
  const values = names.map((name) => ({ name, value: name }))
  await db.batch([{ query: db.kysely.insertInto("meta").values(values), rows: names.length }])
  const read = reader(db)
  const rows = await Promise.all(names.map((name) => read(name)))
  assert.deepEqual(
    rows.map(([row]) => row?.value),
    names,
  )
})

test("a prepared read is parsed once for a connection", async () => {
  await using db = await freshPostgres()
  const read = reader(db)
  for (const name of ["a", "b", "c"]) await read(name)
  const statements = await sql<{ times: number }>`
    select generic_plans + custom_plans as times from pg_prepared_statements where statement like '%"meta"%'`.execute(
    db.kysely,
  )
  assert.deepEqual(statements.rows, [{ times: 3 }])
})

test("whoever waits on a connection that ends is told, and the next goes over another", async () => {
  await using db = await freshPostgres()
  const other = await db.another()
  const read = reader(db)
  await db.batch([insert(db, "there")])
  await other.kysely.transaction().execute(async (held) => {
    await sql`lock table meta in access exclusive mode`.execute(held)
    const waiting = Promise.allSettled([
      ...Array.from({ length: 20 }, () => read("there")),
      db.batch([insert(db, "x")]),
    ])
    const stuck = sql<{ pid: number }>`
      select pid from pg_locks where not granted and relation = 'meta'::regclass`
    await until(async () => (await stuck.execute(held)).rows.length >= 2, "the reads and the batch wait")
    for (const { pid } of (await stuck.execute(held)).rows) await sql`select pg_terminate_backend(${pid})`.execute(held)
    const ends = await waiting
    assert.deepEqual(new Set(ends.map(({ status }) => status)), new Set(["rejected"]))
  })
  assert.deepEqual([await read("there"), await read("x")], [[{ value: "there" }], []])
  await db.batch([insert(db, "x")])
  assert.equal((await read("x"))[0]?.value, "x")
})

test("a read that is not answered in time is given up with those behind it, and the next are answered", async () => {
  const pool = new pg.Pool({ connectionString: await postgresUrl(), pipeline: true })
  pool.on("connect", (client) => client.on("error", () => {}))
  const read = createReads(pool, 200)
  const slow = read({ text: "select pg_sleep(3600)" })
  const ends = await Promise.allSettled([slow, read({ text: "select 1 as one" })])
  assert.deepEqual(
    ends.map(({ status }) => status),
    ["rejected", "rejected"],
  )
  assert.deepEqual(await read({ text: "select 1 as one" }), [{ one: 1 }])
  await pool.end()
})
