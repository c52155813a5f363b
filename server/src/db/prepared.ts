import { createHash } from "node:crypto"
import type { InsertObject, InsertQueryBuilder, InsertResult } from "kysely"
import { type Awaitable, whenThere } from "../lib/awaitable.ts"
import type { Compilable, Compiled, Database } from "./database.ts"
import type { Schema } from "./schema.ts"
import { tablesOf } from "./writes.ts"

/**
 * A query that is compiled once and then run with other parameters: what each request does takes no builder's time.
 * Build it with any values in the places of the parameters, in their order. Where every write passes through the same
 * handle, rows are kept until something is written to their tables; so they are frozen.
 */
export function prepared<Row, Parameters extends readonly string[]>(
  db: Database,
  query: Compilable<Row>,
): (...parameters: Parameters) => Awaitable<readonly Readonly<Row>[]> {
  const compiled = named(query)
  const tables = tablesOf(compiled.sql)
  const { writes } = db
  const kept = writes && createKept<readonly Readonly<Row>[]>(() => writes.of(tables))
  return (...parameters) => {
    if (parameters.length !== compiled.parameters.length) throw new TypeError("wrong number of parameters")
    const known = kept?.get(parameters)
    if (known !== undefined) return known
    const rows = db.fetch<Row>({ ...compiled, parameters })
    // Where rows are kept they come at once: no write fits in between.
    if (kept !== null && Array.isArray(rows)) return kept.set(parameters, rows.map(frozen))
    return rows
  }
}

/**
 * The same for a query that finds one row or none by what is unique, and joins only what was there before that row: once
 * found, it stays as it is however many others are inserted.
 */
export function preparedOne<Row, Parameters extends readonly string[]>(
  db: Database,
  query: Compilable<Row>,
): (...parameters: Parameters) => Awaitable<Readonly<Row> | null> {
  const compiled = named(query)
  const tables = tablesOf(compiled.sql)
  const { writes } = db
  const kept = writes && createKept<Readonly<Row>>(() => writes.changesOf(tables))
  return (...parameters) => {
    if (parameters.length !== compiled.parameters.length) throw new TypeError("wrong number of parameters")
    const known = kept?.get(parameters)
    if (known !== undefined) return known
    return whenThere(db.fetch<Row>({ ...compiled, parameters }), ([row]) => {
      if (row === undefined) return null
      return kept ? kept.set(parameters, Object.freeze(row)) : row
    })
  }
}

/** An insert that is compiled once, for rows with the columns of `example`. `finish` may add what takes no parameter. */
export function preparedInsert<T extends keyof Schema & string>(
  db: Database,
  table: T,
  example: InsertObject<Schema, T>,
  finish: (insert: InsertQueryBuilder<Schema, T, InsertResult>) => Compilable<unknown> = (insert) => insert,
): (row: InsertObject<Schema, T>) => Compilable<unknown> {
  const compiled = named(finish(db.kysely.insertInto(table).values(example)))
  const columns = Object.keys(example) as (keyof InsertObject<Schema, T>)[]
  if (columns.length !== compiled.parameters.length) throw new TypeError("wrong number of parameters")
  return (row) => ({ compile: () => ({ ...compiled, parameters: columns.map((column) => row[column]) }) })
}

/** The name tells of the text: the same text has the same name, and no other has it. */
function named<Row>(query: Compilable<Row>): Compiled<Row> {
  const compiled = query.compile()
  return { ...compiled, name: createHash("sha256").update(compiled.sql).digest("hex").slice(0, 32) }
}

/** The row of a read that finds one or none. */
export function onlyRow<Row>(rows: Awaitable<readonly Row[]>): Awaitable<Row | null> {
  return whenThere(rows, ([row]) => row ?? null)
}

/** What another program wrote (an operator at the file) shows after this time at the latest. */
const LIVES_MS = 1000
const MOST = 10_000

/** Keeps what was read for as long as `version` tells the same. */
function createKept<Found>(version: () => number) {
  const all = new Map<string, Found>()
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
      const now = version()
      if (now !== asOf || performance.now() > until) {
        all.clear()
        asOf = now
        until = performance.now() + LIVES_MS
      }
      return all.get(nameOf(parameters))
    },
    /** In the same turn as `get`, so that both are as of the same writes. */
    set(parameters: readonly string[], found: Found) {
      if (all.size >= MOST) all.clear()
      all.set(nameOf(parameters), found)
      return found
    },
  }
}

const frozen = <Row>(row: Row): Readonly<Row> => Object.freeze(row)
