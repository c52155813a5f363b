import assert from "node:assert/strict"
import { test } from "node:test"
import { forEachDatabase } from "../../../test/databases.ts"
import { type Database, UnexpectedRows } from "./database.ts"
import { prepared, preparedOne } from "./prepared.ts"
import { countWrites, tablesOf } from "./writes.ts"

const byName = (db: Database) =>
  prepared<{ value: string }, [string]>(db, db.read.selectFrom("meta").select("value").where("name", "=", ""))
const put = (db: Database, name: string, value: string) =>
  db.kysely
    .insertInto("meta")
    .values({ name, value })
    .onConflict((c) => c.column("name").doUpdateSet({ value }))

forEachDatabase((_name, open) => {
  test("a prepared read tells of every write as soon as it is acknowledged, however it was made", async () => {
    await using db = await open()
    const read = byName(db)
    const value = async () => (await read("a"))[0]?.value
    assert.equal(await value(), undefined)
    await db.batch([{ query: put(db, "a", "1") }])
    assert.equal(await value(), "1")
    assert.equal(await value(), "1")
    await db.kysely.transaction().execute(async (trx) => {
      await trx.updateTable("meta").set({ value: "2" }).execute()
      // Whoever reads meanwhile must not keep what was there before the end.
      assert.equal(await value(), "1")
    })
    assert.equal(await value(), "2")
    await db.batch([{ query: db.kysely.deleteFrom("meta").where("name", "=", "a").returning("name") }])
    assert.equal(await value(), undefined)
  })

  test("a row that was found is as it is now, also after others were inserted beside it", async () => {
    await using db = await open()
    const read = preparedOne<{ value: string }, [string]>(
      db,
      db.read.selectFrom("meta").select("value").where("name", "=", ""),
    )
    const insert = (name: string) => ({ query: db.kysely.insertInto("meta").values({ name, value: "1" }), rows: 1 })
    assert.equal(await read("a"), null)
    await db.batch([insert("a")])
    assert.equal((await read("a"))?.value, "1")
    await db.batch([insert("b")])
    assert.equal((await read("a"))?.value, "1")
    assert.equal((await read("b"))?.value, "1")
    await db.batch([{ query: put(db, "a", "2") }])
    assert.equal((await read("a"))?.value, "2")
    await db.batch([{ query: db.kysely.deleteFrom("meta").where("name", "=", "a") }, insert("c")])
    assert.equal(await read("a"), null)
  })

  test("a write that was undone is never read", async () => {
    await using db = await open()
    const read = byName(db)
    const fails = db.batch([{ query: put(db, "a", "1") }, { query: db.kysely.deleteFrom("counters"), rows: 7 }])
    const undone = assert.rejects(fails, UnexpectedRows)
    assert.deepEqual(await read("a"), [])
    await undone
    assert.deepEqual(await read("a"), [])
  })

  test("reads beside many writes are never older than the last acknowledged one", async () => {
    await using db = await open()
    const read = byName(db)
    let acknowledged = 0
    const write = async () => {
      for (let i = 1; i <= 200; i++) {
        await db.batch([{ query: put(db, "n", String(i)) }])
        acknowledged = i
      }
    }
    let writing = true
    const writer = write().finally(() => {
      writing = false
    })
    while (writing) {
      const least = acknowledged
      const now = Number((await read("n"))[0]?.value ?? 0)
      assert.ok(now >= least, `${now} was read after ${least} was acknowledged`)
      await new Promise(setImmediate)
    }
    await writer
  })

  test("two parameters are not taken for others that look alike together", async () => {
    await using db = await open()
    const read = prepared<{ value: string }, [string, string]>(
      db,
      db.read.selectFrom("meta").select("value").where("name", "=", "").where("value", "=", ""),
    )
    await db.batch([{ query: put(db, 'a","b', "c") }])
    assert.deepEqual(await read("a", 'b","c'), [])
    assert.equal((await read('a","b', "c")).length, 1)
  })
})

test("an insert alone changes nothing that stood there; one that may update does", () => {
  const writes = countWrites()
  const count = () => [writes.of(["meta"]), writes.changesOf(["meta"])]
  writes.watch('insert into "meta" ("name") values (?) on conflict ("name") do nothing')()
  assert.deepEqual(count(), [1, 0])
  writes.watch('insert into "meta" ("name") values (?) on conflict ("name") do update set "value" = ?')()
  assert.deepEqual(count(), [2, 1])
  writes.watch('insert or replace into "meta" ("name") values (?)')()
  writes.watch('update "other" set "value" = ?')()
  assert.deepEqual(count(), [3, 2])
  writes.watch("commit")()
  assert.deepEqual(count(), [5, 3])
})

test("the tables of a statement are those it reads, also in joins and inner queries", () => {
  const sql = 'select 1 from "agents" left join "users" as "u" on 1 where exists (select "id" from "runs")'
  assert.deepEqual(tablesOf(sql), ["agents", "users", "runs"])
})
