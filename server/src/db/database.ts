import type { CompiledQuery, Kysely } from "kysely"
import type { Awaitable } from "../lib/awaitable.ts"
import type { Heard } from "./postgres-listen.ts"
import type { Schema } from "./schema.ts"
import type { Writes } from "./writes.ts"

/** With a name, which stands for this text alone: it is run again and again, so PostgreSQL is to keep its plan. */
export type Compiled<Row> = CompiledQuery<Row> & { readonly name?: string }

/** Anything Kysely can compile: a finished query builder. */
export interface Compilable<Row> {
  compile(): Compiled<Row>
}

/**
 * One statement of a batch. `rows` is how many rows it must return (if it returns rows) or change; another number rolls
 * the whole batch back with `otherwise`. On PostgreSQL the statements after it have run by then, and are undone with it.
 */
export interface Step<Row = unknown> {
  query: Compilable<Row>
  rows?: number
  otherwise?: () => Error
}

/** The rows of each step, in order; empty for a step that returns none. */
export type BatchRows<S extends readonly Step[]> = {
  -readonly [K in keyof S]: S[K] extends Step<infer Row> ? Row[] : never
}

/**
 * Both databases behind one handle.
 *
 * - `read`: single reads; on SQLite a connection of its own, so that they never wait for a transaction.
 * - `batch`: the way to write. All statements or none, durable when the promise resolves. On SQLite batches of many
 *   callers share one commit; on PostgreSQL each is a transaction.
 * - `kysely.transaction()`: only where a later statement depends on an earlier one's answer. Never await anything but the
 *   transaction's own queries inside.
 */
export interface Database extends AsyncDisposable {
  readonly dialect: "sqlite" | "postgres"
  /** Where every write passes through this handle (SQLite); null where other servers write too. */
  readonly writes: Writes | null
  readonly read: Kysely<Schema>
  readonly kysely: Kysely<Schema>
  /** Runs a compiled read by the shortest way there is; at once on SQLite. */
  fetch<Row>(query: Compiled<Row>): Awaitable<Row[]>
  batch<const S extends readonly Step[]>(steps: S): Promise<BatchRows<S>>
  /** Hears `pg_notify` of all servers on the same database; null on SQLite, which has one server alone. */
  readonly listen: ((channel: string, heard: Heard) => AsyncDisposable) | null
  /** Writes a whole copy of the database to a file while it is in use (SQLite; on PostgreSQL use pg_dump). */
  backup(path: string): Promise<void>
}

/** Thrown inside a batch when a step's row count is not what it must be and the step names no error of its own. */
export class UnexpectedRows extends Error {
  override readonly name = "UnexpectedRows"
}

/** Runs after each step of a batch, on both databases. */
export function checkRows(step: Step, count: number): void {
  if (step.rows === undefined || step.rows === count) return
  throw step.otherwise?.() ?? new UnexpectedRows(`a statement concerned ${count} rows instead of ${step.rows}`)
}

/** Did this error come from a unique or primary key that was taken? (SQLite 2067 and 1555, PostgreSQL 23505.) */
export function isUniqueViolation(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false
  if ("errcode" in error) return error.errcode === 2067 || error.errcode === 1555
  return "code" in error && error.code === "23505"
}
