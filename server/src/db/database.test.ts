import assert from "node:assert/strict"
import { test } from "node:test"
import { forEachDatabase } from "../../../test/databases.ts"
import { isUniqueViolation, UnexpectedRows } from "./database.ts"
import { migrate, migrationState } from "./migrate.ts"

forEachDatabase((name, open) => {
  test("a batch that comes after the end is refused, and leaves nobody waiting", async () => {
    const db = await open()
    const step = { query: db.kysely.insertInto("counters").values({ name: "late", value: 0 }) }
    await db[Symbol.asyncDispose]()
    await assert.rejects(db.batch([step]))
  })

  test("a batch whose second statement fails leaves nothing of the first", async () => {
    await using db = await open()
    const put = (name: string) => ({ query: db.kysely.insertInto("meta").values({ name, value: "x" }) })
    await db.batch([put("there")])
    const error = await db.batch([put("new"), put("there")]).catch((e: unknown) => e)
    assert.ok(isUniqueViolation(error), String(error))
    assert.deepEqual(
      (await db.read.selectFrom("meta").select("name").execute()).map((r) => r.name),
      ["there"],
    )
  })

  test("a batch that concerns another number of rows than it must is undone, with the error it names", async () => {
    await using db = await open()
    const put = { query: db.kysely.insertInto("meta").values({ name: "a", value: "1" }) }
    const none = { query: db.kysely.updateTable("meta").set({ value: "2" }).where("name", "=", "absent"), rows: 1 }
    await assert.rejects(db.batch([put, none]), UnexpectedRows)
    await assert.rejects(db.batch([put, { ...none, otherwise: () => new Error("mine") }]), /mine/)
    assert.equal((await db.read.selectFrom("meta").selectAll().execute()).length, 0)
  })

  test("the first statement that did not do what it must tells why, whatever comes after it", async () => {
    await using db = await open()
    const put = { query: db.kysely.insertInto("meta").values({ name: "a", value: "1" }) }
    const none = { query: db.kysely.deleteFrom("meta").where("name", "=", "absent"), rows: 1 }
    await db.batch([put])
    const mine = { ...none, otherwise: () => new Error("mine") }
    await assert.rejects(db.batch([mine, put]), /mine/)
    await assert.rejects(db.batch([put, mine]), isUniqueViolation)
    await db.batch([{ query: db.kysely.deleteFrom("meta").where("name", "=", "a"), rows: 1 }])
  })

  test("of 200 batches at once each gives its own answer, also beside those that fail", async () => {
    await using db = await open()
    await db.batch([{ query: db.kysely.insertInto("counters").values({ name: "n", value: 0 }) }])
    const take = () =>
      db.batch([
        {
          query: db.kysely
            .updateTable("counters")
            .set((eb) => ({ value: eb("value", "+", 1) }))
            .where("name", "=", "n")
            .returning("value"),
          rows: 1,
        },
      ])
    const fail = async () => {
      await db.batch([{ query: db.kysely.deleteFrom("counters").where("name", "=", "none"), rows: 1 }])
      return []
    }
    const results = await Promise.allSettled(Array.from({ length: 200 }, (_, i) => (i % 4 === 3 ? fail() : take())))
    const numbers = results.flatMap((r) => (r.status === "fulfilled" ? r.value.flat() : [])).map((row) => row.value)
    assert.deepEqual(
      numbers.toSorted((a, b) => a - b),
      Array.from({ length: 150 }, (_, i) => i + 1),
    )
    assert.equal(results.filter((r) => r.status === "rejected").length, 50)
  })

  test("migrating twice changes nothing, and another handle sees the same", async () => {
    await using db = await open()
    const before = await migrationState(db)
    assert.deepEqual([before.pending, before.unknown], [[], []])
    const other = await db.another()
    // Two SQLite handles of one process would wait for each other; two PostgreSQL servers take turns.
    if (name === "postgres") await Promise.all([migrate(db, 1), migrate(other, 2)])
    else for (const one of [db, other]) await migrate(one, 1)
    assert.deepEqual(await migrationState(other), before)
  })

  test("text is ordered by its bytes", async () => {
    await using db = await open()
    const names = ["b", "_x", "B", "a", "-k", "10", "9"]
    await db.batch(names.map((name) => ({ query: db.kysely.insertInto("meta").values({ name, value: "" }) })))
    const rows = await db.read.selectFrom("meta").select("name").orderBy("name").execute()
    assert.deepEqual(
      rows.map((r) => r.name),
      ["-k", "10", "9", "B", "_x", "a", "b"],
    )
  })
})
