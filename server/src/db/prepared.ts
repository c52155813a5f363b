import type { CompiledQuery, InsertObject, InsertQueryBuilder, InsertResult } from "kysely"
import { type Awaitable, whenThere } from "../lib/awaitable.ts"
import type { Compilable, Database } from "./database.ts"
import type { Schema } from "./schema.ts"
import { tablesOf, type Writes } from "./writes.ts"

/**
 * A query that is compiled once and then run with other parameters: what each request does takes no builder's time.
 * Build it with any values in the places of the parameters, in their order. Where every write passes through the same
 * handle, rows are kept until something is written to their tables; so they are frozen.
 */
export function prepared<Row, Parameters extends readonly string[]>(
  db: Database,
  query: Compilable<Row>,
): (...parameters: Parameters) => Awaitable<readonly Readonly<Row>[]> {
  const compiled: CompiledQuery<Row> = query.compile()
  const kept = db.writes === null ? null : createKept<Row>(db.writes, tablesOf(compiled.sql))
  return (...parameters) => {
    if (parameters.length !== compiled.parameters.length) throw new TypeError("wrong number of parameters")
    const known = kept?.get(parameters)
    if (known !== undefined) return known
    const rows = db.fetch<Row>({ ...compiled, parameters })
    // Where rows are kept they come at once: no write fits in between.
    if (kept !== null && Array.isArray(rows)) return kept.set(parameters, rows)
    return rows
  }
}

/** An insert that is compiled once, for rows with the columns of `example`. `finish` may add what takes no parameter. */
export function preparedInsert<T extends keyof Schema & string>(
  db: Database,
  table: T,
  example: InsertObject<Schema, T>,
  finish: (insert: InsertQueryBuilder<Schema, T, InsertResult>) => Compilable<unknown> = (insert) => insert,
): (row: InsertObject<Schema, T>) => Compilable<unknown> {
  const compiled = finish(db.kysely.insertInto(table).values(example)).compile()
  const columns = Object.keys(example) as (keyof InsertObject<Schema, T>)[]
  if (columns.length !== compiled.parameters.length) throw new TypeError("wrong number of parameters")
  return (row) => ({ compile: () => ({ ...compiled, parameters: columns.map((column) => row[column]) }) })
}

/** The row of a read that finds one or none. */
export function onlyRow<Row>(rows: Awaitable<readonly Row[]>): Awaitable<Row | null> {
  return whenThere(rows, ([row]) => row ?? null)
}

/** What another program wrote (an operator at the file) shows after this time at the latest. */
const LIVES_MS = 1000
const MOST = 10_000

function createKept<Row>(writes: Writes, tables: readonly string[]) {
  const rows = new Map<string, readonly Readonly<Row>[]>()
  let asOf = -1
  let until = 0
  const nameOf = (parameters: readonly string[]) => {
    if (parameters.length === 1) return parameters[0] ?? ""
    let name = ""
    for (const parameter of parameters) name += `${parameter.length}:${parameter}`
    return name
  }
  return {
    get(parameters: readonly string[]) {
      const now = writes.of(tables)
      if (now !== asOf || performance.now() > until) {
        rows.clear()
        asOf = now
        until = performance.now() + LIVES_MS
      }
      return rows.get(nameOf(parameters))
    },
    /** In the same turn as `get`, so that both are as of the same writes. */
    set(parameters: readonly string[], found: Row[]) {
      if (rows.size >= MOST) rows.clear()
      for (const row of found) Object.freeze(row)
      rows.set(nameOf(parameters), found)
      return found
    },
  }
}
