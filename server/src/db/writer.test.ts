import assert from "node:assert/strict"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { test } from "node:test"
import { pathToFileURL } from "node:url"
import { CompiledQuery } from "kysely"
import { openSqlite } from "./sqlite.ts"
import { createWriter, type WriteJob } from "./writer.ts"

function folder() {
  const path = mkdtempSync(join(tmpdir(), "autonomis-writer-"))
  const file = join(path, "test.db")
  const db = new DatabaseSync(file)
  db.exec("pragma journal_mode=wal; create table t (a any, b any) strict")
  return {
    path,
    file,
    rows: () => db.prepare("select a, b from t order by rowid").all(),
    db,
    [Symbol.dispose]() {
      db.close()
      rmSync(path, { recursive: true })
    },
  }
}

const put = (a: WriteJob[number]["parameters"][number], b: typeof a = null): WriteJob => [
  { sql: "insert into t values (?, ?)", parameters: [a, b], rows: 1 },
]

test("values of every kind and length arrive as they were", async () => {
  using at = folder()
  await using writer = createWriter(at.file)
  const long = `\u{1f600}${"x".repeat(50_000)}`
  const values = [null, 0, -1.5, 9_007_199_254_740_991n, "", "q'\u2028", long, new Uint8Array([0, 255])]
  await writer.write(values.map((value) => put(value, "after")))
  assert.deepEqual(
    at.rows().map(({ a }) => a),
    values.map((value) => (typeof value === "bigint" ? Number(value) : value)),
  )
})

test("each job tells what became of it, and those that fail leave nothing of theirs", async () => {
  using at = folder()
  await using writer = createWriter(at.file)
  const outcomes = await writer.write([
    put(1),
    [...put(2), { sql: "update t set a = 3 where a = 9", parameters: [], rows: 1 }],
    [...put(4), { sql: "insert into nowhere values (1)", parameters: [], rows: null }],
    [{ sql: "insert into t values (5, 6) returning a, b", parameters: [], rows: 1 }],
  ])
  assert.deepEqual([outcomes[0], outcomes[1], outcomes[3]], [null, { step: 1, count: 0 }, { rows: [[{ a: 5, b: 6 }]] }])
  assert.ok(outcomes[2] && "error" in outcomes[2] && /nowhere/.test(outcomes[2].error.message))
  assert.deepEqual(
    at.rows().map(({ a }) => a),
    [1, 5],
  )
})

test("more statements than are kept are all run", async () => {
  using at = folder()
  await using writer = createWriter(at.file)
  for (let part = 0; part < 3; part++) {
    const jobs = Array.from(
      { length: 600 },
      (_, i): WriteJob => [{ sql: `insert into t values (${part * 600 + i}, ?)`, parameters: [part], rows: 1 }],
    )
    await writer.write(jobs)
    await writer.write([put("same again")])
  }
  assert.equal(at.rows().length, 1803)
})

test("while the file is another's the program goes on, and the write is done after it", async () => {
  using at = folder()
  await using db = openSqlite(at.file)
  at.db.exec("begin immediate")
  let isDone = false
  const written = db
    .batch([{ query: { compile: () => CompiledQuery.raw("insert into t values (1, 2)") } }])
    .then(() => {
      isDone = true
    })
  for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate)
  assert.equal(isDone, false)
  at.db.exec("commit")
  await written
  assert.equal(at.rows().length, 1)
})

test("a thread that dies fails what it was given, and the next order finds another", async () => {
  using at = folder()
  const entry = join(at.path, "dies.mjs")
  const real = new URL("./writer-thread.ts", import.meta.url).href
  const once = join(at.path, "died")
  writeFileSync(
    entry,
    `import { existsSync, writeFileSync } from "node:fs"
     import { parentPort } from "node:worker_threads"
     if (existsSync(${JSON.stringify(once)})) await import(${JSON.stringify(real)})
     else parentPort.once("message", () => { writeFileSync(${JSON.stringify(once)}, ""); process.exit(1) })`,
  )
  await using writer = createWriter(at.file, pathToFileURL(entry))
  await assert.rejects(writer.write([put(1)]), /thread that writes/)
  assert.deepEqual(await writer.write([put(2)]), [null])
  assert.deepEqual(
    at.rows().map(({ a }) => a),
    [2],
  )
})

test("after the end nothing is taken any more", async () => {
  using at = folder()
  const writer = createWriter(at.file)
  await writer.write([put(1)])
  await writer[Symbol.asyncDispose]()
  await assert.rejects(writer.write([put(2)]), /closed/)
  assert.equal(at.rows().length, 1)
})
