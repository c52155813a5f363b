import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, test } from "node:test"
import { freshPostgres, freshPostgresUrl, freshSqlite } from "../../../test/databases.ts"
import { stopOwnPostgres } from "../../../test/postgres.ts"
import { StartError } from "../lib/start-error.ts"
import { MIGRATIONS, type Migration, migrate } from "./migrate.ts"
import { openDatabase } from "./open.ts"

const DAY = 86_400_000

after(stopOwnPostgres)

/** The program after this one, and the one after that: each adds a column. */
const later = (count: number): Migration[] => [
  ...MIGRATIONS,
  ...Array.from({ length: count }, (_, i) => ({
    name: `9${i}-later`,
    statements: () => [`alter table meta add column later_${i} text`],
  })),
]

function opener(dataDir: string) {
  const said: string[] = []
  const open = (migrations: readonly Migration[], now = 0) =>
    openDatabase({ url: null, dataDir, now, migrations, onError: () => {}, say: (line) => void said.push(line) })
  return { said, open }
}

async function inFolder(name: string, body: (dataDir: string) => Promise<void>): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), name))
  try {
    await body(dataDir)
  } finally {
    rmSync(dataDir, { recursive: true })
  }
}

test("a new database is made without a backup, and opened again without one", () =>
  inFolder("autonomis-open-", async (dataDir) => {
    const { open, said } = opener(dataDir)
    for (let i = 0; i < 2; i++) await (await open(MIGRATIONS))[Symbol.asyncDispose]()
    assert.deepEqual(said, [])
    assert.ok(!readdirSync(dataDir).includes("backups"))
  }))

test("before a migration the database is copied, and the printed command goes back to it", () =>
  // A folder's name that a shell would take apart.
  inFolder("autonomis open 'quoted' ", async (dataDir) => {
    const { open, said } = opener(dataDir)
    const old = await open(MIGRATIONS)
    await old.batch([{ query: old.kysely.insertInto("meta").values({ name: "kept", value: "yes" }) }])
    await old[Symbol.asyncDispose]()

    const newer = await open(later(1))
    await newer.batch([{ query: newer.kysely.insertInto("meta").values({ name: "newer", value: "lost" }) }])
    await newer[Symbol.asyncDispose]()
    assert.equal(said.length, 2)
    const [backup] = readdirSync(join(dataDir, "backups"))
    assert.ok(said[0]?.includes(join(dataDir, "backups", backup ?? "")))
    assert.equal(statSync(join(dataDir, "backups", backup ?? "")).mode & 0o777, 0o600)

    await assert.rejects(open(MIGRATIONS), (error) => error instanceof StartError && /newer/.test(error.message))
    const command = said[1]?.split("run: ")[1] ?? ""
    execFileSync("sh", ["-c", command])
    await using back = await open(MIGRATIONS)
    const rows = await back.read.selectFrom("meta").select("name").execute()
    assert.deepEqual(
      rows.map((row) => row.name),
      ["kept"],
    )
  }))

test("the newest three backups stay", () =>
  inFolder("autonomis-open-", async (dataDir) => {
    const { open } = opener(dataDir)
    for (let i = 0; i <= 5; i++) await (await open(later(i), i * DAY))[Symbol.asyncDispose]()
    assert.deepEqual(readdirSync(join(dataDir, "backups")).sort(), [
      "autonomis-19700104T000000Z-before-92-later.db",
      "autonomis-19700105T000000Z-before-93-later.db",
      "autonomis-19700106T000000Z-before-94-later.db",
    ])
  }))

test("a migration that fails half-way leaves nothing of itself, on both databases", async () => {
  const broken: Migration = {
    name: "99-broken",
    statements: () => ["alter table meta add column half text", "this is not SQL"],
  }
  for (const fresh of [freshSqlite, freshPostgres]) {
    await using db = await fresh()
    await assert.rejects(migrate(db, 0, [...MIGRATIONS, broken]))
    await migrate(db, 0, later(1))
    await assert.rejects(
      db.read
        .selectFrom("meta")
        .select("half" as "name")
        .execute(),
      /half/,
    )
  }
})

test("a PostgreSQL that is newer than the program is refused", async () => {
  await using server = await freshPostgresUrl()
  const open = (migrations: readonly Migration[]) =>
    openDatabase({ url: server.url, dataDir: "/", now: 0, migrations, onError: () => {}, say: () => {} })
  await (await open(later(1)))[Symbol.asyncDispose]()
  await assert.rejects(open(MIGRATIONS), (error) => error instanceof StartError && /newer/.test(error.message))
})
