import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite"
import { parentPort, workerData } from "node:worker_threads"

/**
 * The thread that writes to the SQLite file: pages, indexes and the disk take its time, and the server's main thread
 * goes on meanwhile.
 */
export interface Order {
  /** Statements that come for the first time, by the numbers that stand for them from now on. */
  statements: [number: number, sql: string][]
  /** Forget all that came before. */
  anew: boolean
  jobs: OrderedStep[][]
}

/** `rows`: how many the step must return or change; null: any number. */
export type OrderedStep = [statement: number, parameters: SQLInputValue[], rows: number | null]

/**
 * What became of a job: the rows of its steps (null: none of them has any), the step that concerned another number of
 * rows, or an error.
 */
export type Outcome = { rows: unknown[][] } | { step: number; count: number } | { error: WriteFailure } | null

export interface WriteFailure {
  message: string
  /** SQLite's own number, where it has one. */
  errcode: number | null
}

/** One outcome for each job, or why nothing of the whole order was kept. */
export type OrderAnswer = Outcome[] | WriteFailure

if (parentPort === null) throw new Error("the database is written in a thread of the server")
const main = parentPort
const raw = new DatabaseSync(String(workerData), { timeout: 5000 })
// Four times as many pages of the log as usual before they go into the file: pages that are written again go there once.
raw.exec(
  "pragma synchronous=full; pragma wal_autocheckpoint=4000; pragma cache_size=-16000; pragma journal_size_limit=67108864",
)

const texts = new Map<number, string>()
const prepared = new Map<number, Prepared>()

interface Prepared {
  statement: StatementSync
  returns: boolean
}

function preparedOf(number: number): Prepared {
  const known = prepared.get(number)
  if (known !== undefined) return known
  const statement = raw.prepare(texts.get(number) ?? "")
  const made = { statement, returns: statement.columns().length > 0 }
  prepared.set(number, made)
  return made
}

main.on("message", (message: Order | string) => {
  if (message === "end") {
    raw.close()
    main.close()
    return
  }
  const order: Order = typeof message === "string" ? JSON.parse(message) : message
  main.postMessage(write(order))
})

function write({ statements, anew, jobs }: Order): OrderAnswer {
  if (anew) prepared.clear()
  for (const [number, sql] of statements) texts.set(number, sql)
  try {
    raw.exec("begin immediate")
    const outcomes = jobs.map(writeJob)
    raw.exec("commit")
    return outcomes
  } catch (error) {
    if (raw.isTransaction) raw.exec("rollback")
    return failureOf(error)
  }
}

function writeJob(steps: OrderedStep[]): Outcome {
  raw.exec("savepoint job")
  const outcome = run(steps)
  if (outcome !== null && !("rows" in outcome)) raw.exec("rollback to job")
  raw.exec("release job")
  return outcome
}

function run(steps: OrderedStep[]): Outcome {
  const rows: unknown[][] = []
  let isEmpty = true
  for (const [at, [number, parameters, expected]] of steps.entries()) {
    try {
      const { statement, returns } = preparedOf(number)
      const found = returns ? statement.all(...parameters) : []
      const count = returns ? found.length : Number(statement.run(...parameters).changes)
      if (expected !== null && count !== expected) return { step: at, count }
      if (found.length > 0) isEmpty = false
      rows.push(found)
    } catch (error) {
      return { error: failureOf(error) }
    }
  }
  return isEmpty ? null : { rows }
}

function failureOf(error: unknown): WriteFailure {
  const errcode = error instanceof Error && "errcode" in error ? Number(error.errcode) : null
  return { message: error instanceof Error ? error.message : String(error), errcode }
}
