import { backup, DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite"
import { type CompiledQuery, Kysely, SqliteAdapter, SqliteDialect } from "kysely"
import { type BatchRows, checkRows, type Database, type Step } from "./database.ts"
import type { Schema } from "./schema.ts"
import { countWrites } from "./writes.ts"

const JOBS_A_COMMIT = 200
const STATEMENTS_KEPT = 500

interface Statement {
  reader: boolean
  all(parameters: readonly unknown[]): unknown[]
  run(parameters: readonly unknown[]): { changes: number | bigint; lastInsertRowid: number | bigint }
  iterate(parameters: readonly unknown[]): IterableIterator<unknown>
}

/** node:sqlite takes an object in first place as named parameters and stores a missing one as null: refuse both. */
function bind(value: unknown): SQLInputValue {
  if (value === undefined || value === null) return null
  if (typeof value === "boolean") return value ? 1 : 0
  if (typeof value === "string" || typeof value === "number" || typeof value === "bigint") return value
  if (value instanceof Uint8Array) return value
  throw new TypeError("cannot bind an object")
}

function preparer(raw: DatabaseSync, watch: (sql: string) => () => void = () => () => {}): (text: string) => Statement {
  const kept = new Map<string, Statement>()
  return (text) => {
    // A transaction that reads before it writes would fail at once when another wrote in between.
    const query = text === "begin" ? "begin immediate" : text
    const known = kept.get(query)
    if (known) return known
    const statement: StatementSync = raw.prepare(query)
    const ran = watch(query)
    const made: Statement = {
      reader: statement.columns().length > 0,
      all(parameters) {
        ran()
        return statement.all(...parameters.map(bind))
      },
      run(parameters) {
        ran()
        return statement.run(...parameters.map(bind))
      },
      iterate: (parameters) => statement.iterate(...parameters.map(bind)),
    }
    if (kept.size > STATEMENTS_KEPT) kept.clear()
    kept.set(query, made)
    return made
  }
}

class TransactionalAdapter extends SqliteAdapter {
  override get supportsTransactionalDdl(): boolean {
    return true
  }
}

class Dialect extends SqliteDialect {
  override createAdapter(): SqliteAdapter {
    return new TransactionalAdapter()
  }
}

/** Opens or makes the database file. Throws what node:sqlite throws when the file is not one or cannot be written. */
export function openSqlite(file: string): Database {
  const raw = new DatabaseSync(file, { timeout: 5000 })
  raw.exec(
    "pragma journal_mode=wal; pragma synchronous=full; pragma cache_size=-16000; pragma journal_size_limit=67108864",
  )
  const writes = countWrites()
  const prepare = preparer(raw, writes.watch)
  const kysely = new Kysely<Schema>({ dialect: new Dialect({ database: { prepare, close: () => raw.close() } }) })

  const rawRead = new DatabaseSync(file, { timeout: 5000, readOnly: true })
  const prepareRead = preparer(rawRead)
  const read = new Kysely<Schema>({
    dialect: new Dialect({ database: { prepare: prepareRead, close: () => rawRead.close() } }),
  })

  interface Job {
    run(): unknown
    resolve(value: unknown): void
    reject(error: unknown): void
  }
  const jobs: Job[] = []
  const run = (sql: string) => void prepare(sql).run([])

  /** No connection any more: the database was closed with jobs under way. */
  function giveUp(error: unknown): void {
    for (const job of jobs.splice(0)) job.reject(error)
  }

  async function flush(): Promise<void> {
    // The lock that Kysely's own transactions take: nothing slips into another's transaction.
    await kysely.connection().execute(async () => {
      const now = jobs.splice(0, JOBS_A_COMMIT)
      if (jobs.length > 0) setImmediate(() => void flush().catch(giveUp))
      try {
        const answers = together(now) ?? oneByOne(now)
        run("commit")
        for (const answer of answers) answer()
      } catch (error) {
        if (raw.isTransaction) raw.exec("rollback")
        for (const job of now) job.reject(error)
      }
    })
  }

  /** Runs jobs that nearly always succeed; null, with nothing done, when one of them fails. */
  function together(now: readonly Job[]): (() => void)[] | null {
    run("begin")
    try {
      return now.map((job) => {
        const value = job.run()
        return () => job.resolve(value)
      })
    } catch {
      if (raw.isTransaction) run("rollback")
      return null
    }
  }

  /** Each job behind a point to go back to, which costs as much as half of its work, so that one may fail alone. */
  function oneByOne(now: readonly Job[]): (() => void)[] {
    const answers: (() => void)[] = []
    run("begin")
    for (const job of now) {
      run("savepoint job")
      try {
        const value = job.run()
        answers.push(() => job.resolve(value))
      } catch (error) {
        run("rollback to job")
        answers.push(() => job.reject(error))
      }
      run("release job")
    }
    return answers
  }

  function runSteps(steps: readonly Step[]): unknown[][] {
    const answers: unknown[][] = []
    for (const step of steps) {
      const { sql, parameters } = step.query.compile()
      const statement = prepare(sql)
      const rows = statement.reader ? statement.all(parameters) : []
      checkRows(step, statement.reader ? rows.length : Number(statement.run(parameters).changes))
      answers.push(rows)
    }
    return answers
  }

  return {
    dialect: "sqlite",
    writes,
    read,
    kysely,
    fetch<Row>(query: CompiledQuery<Row>) {
      // What the statement returns is what the query was compiled for.
      return prepareRead(query.sql).all(query.parameters) as Row[]
    },
    batch<const S extends readonly Step[]>(steps: S) {
      return new Promise<BatchRows<S>>((resolve, reject) => {
        jobs.push({ run: () => runSteps(steps), resolve: (value) => resolve(value as BatchRows<S>), reject })
        if (jobs.length === 1) setImmediate(() => void flush().catch(giveUp))
      })
    },
    listen: null,
    async backup(path) {
      // From the writing connection: from another it starts anew with each write.
      await kysely.connection().execute(() => backup(raw, path, { rate: 1000 }))
    },
    async [Symbol.asyncDispose]() {
      await read.destroy()
      await kysely.destroy()
    },
  }
}
