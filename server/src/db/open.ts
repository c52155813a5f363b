import { closeSync, existsSync, openSync, readdirSync, renameSync, rmSync, statSync } from "node:fs"
import { mkdir } from "node:fs/promises"
import { join } from "node:path"
import { syncFolder } from "../lib/durable-file.ts"
import { StartError } from "../lib/start-error.ts"
import type { Database } from "./database.ts"
import { MIGRATIONS, type Migration, migrate, migrationState } from "./migrate.ts"
import { openSqlite } from "./sqlite.ts"

const BACKUPS_KEPT = 3

export interface OpenOptions {
  /** `postgres://…`; null: SQLite in the data folder. */
  url: string | null
  dataDir: string
  now: number
  /** Told of connections that broke while they were idle. */
  onError(error: Error): void
  /** This program's own unless told (tests). */
  migrations?: readonly Migration[]
  /** Lines for the operator. */
  say(line: string): void
}

/** Opens the configured database and brings it to this program's schema, after a backup where that is ours to make. */
export async function openDatabase(options: OpenOptions): Promise<Database> {
  const migrations = options.migrations ?? MIGRATIONS
  const file = join(options.dataDir, "autonomis.db")
  const db = options.url === null ? openFile(file) : await openServer(options.url, options.onError)
  try {
    const { pending, done, unknown } = await reach(options.url === null ? file : "DATABASE_URL", () =>
      migrationState(db, migrations),
    )
    if (unknown.length > 0) {
      throw new StartError(
        `The database is newer than this program (it has the change "${unknown.at(-1)}"); start the newer program.`,
      )
    }
    if (pending.length === 0) return db
    if (done.length > 0 && options.url === null) await backupBefore(db, file, pending[0] ?? "", options)
    await migrate(db, options.now, migrations)
    return db
  } catch (error) {
    await db[Symbol.asyncDispose]()
    throw error
  }
}

function openFile(file: string): Database {
  try {
    // SQLite gives its side files the mode of this one.
    closeSync(openSync(file, "a", 0o600))
    return openSqlite(file)
  } catch (error) {
    throw new StartError(`The database ${file} cannot be opened (${reasonOf(error)}).`)
  }
}

async function openServer(url: string, onError: (error: Error) => void): Promise<Database> {
  // Only those who use it pay for loading it.
  const { openPostgres } = await import("./postgres.ts")
  return openPostgres(url, onError)
}

async function reach<T>(name: string, query: () => Promise<T>): Promise<T> {
  try {
    return await query()
  } catch (error) {
    throw new StartError(`${name}: the database does not answer (${reasonOf(error)}).`)
  }
}

/** Never the URL itself, which may hold a password. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  return error instanceof Error ? error.message || error.name : String(error)
}

async function backupBefore(db: Database, file: string, change: string, { dataDir, now, say }: OpenOptions) {
  const folder = join(dataDir, "backups")
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const stamp = new Date(now).toISOString().replace(/[-:]/g, "").replace(/\.\d+/, "")
  const path = join(folder, `autonomis-${stamp}-before-${change}.db`)
  const part = `${path}.part`
  rmSync(part, { force: true })
  closeSync(openSync(part, "a", 0o600))
  await db.backup(part)
  renameSync(part, path)
  syncFolder(path)
  say(`The database is brought up to date; a backup was written to ${path}`)
  say(`To go back, stop the server and run: ${restoreCommand(path, file)}`)
  prune(folder)
}

/** The side files belong to the newer content and must go with it. */
export function restoreCommand(backup: string, file: string): string {
  return `rm -f ${quote(`${file}-wal`)} ${quote(`${file}-shm`)} && cp ${quote(backup)} ${quote(file)}`
}

function quote(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`
}

/** The newest three stay, and nothing half-written. */
function prune(folder: string): void {
  const files = readdirSync(folder).filter((name) => name.startsWith("autonomis-"))
  for (const name of files.filter((name) => name.endsWith(".part"))) rmSync(join(folder, name))
  const backups = files
    .filter((name) => name.endsWith(".db"))
    .map((name) => ({ path: join(folder, name), at: statSync(join(folder, name)).mtimeMs, name }))
    .sort((a, b) => b.at - a.at || b.name.localeCompare(a.name))
  for (const { path } of backups.slice(BACKUPS_KEPT)) if (existsSync(path)) rmSync(path)
}
