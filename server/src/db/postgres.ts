import { Kysely, PostgresDialect } from "kysely"
import pg from "pg"
import { type BatchRows, type Compiled, checkRows, type Database, type Step } from "./database.ts"
import { holdBack } from "./hold-back.ts"
import { listenOn } from "./postgres-listen.ts"
import { createReads, isLost } from "./postgres-reads.ts"
import type { Schema } from "./schema.ts"

const POOL_SIZE = 10
/** For a connection of the pool, and for the answer to a short read. */
const WAIT_MS = 10_000
/** A plan that was made while tables were small is kept no longer. */
const CONNECTION_LIVES_SECONDS = 600
const INT8 = 20
const NUMERIC = 1700

/**
 * Opens a pool; connects at the first query. `onError` hears of idle connections that broke, which pg would otherwise
 * throw into the process. `schema` puts all tables into a schema of that name (tests).
 */
export function openPostgres(url: string, onError: (error: Error) => void, schema?: string): Database {
  const types = new pg.TypeOverrides()
  types.setTypeParser(INT8, Number)
  types.setTypeParser(NUMERIC, Number)
  const config = {
    connectionString: url,
    ...(schema === undefined ? {} : { options: `-c search_path=${schema}` }),
  }
  const pool = new pg.Pool({
    ...config,
    max: POOL_SIZE,
    types,
    pipeline: true,
    connectionTimeoutMillis: WAIT_MS,
    maxLifetimeSeconds: CONNECTION_LIVES_SECONDS,
  })
  pool.on("error", onError)
  // Of a connection in use its queries tell; an error that nobody hears pg would throw into the process.
  pool.on("connect", (client) => client.on("error", () => {}))
  const kysely = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  const reads = createReads(pool, WAIT_MS)
  return {
    dialect: "postgres",
    writes: null,
    read: kysely,
    kysely,
    fetch<Row>(query: Compiled<Row>) {
      // What the statement returns is what the query was compiled for.
      return reads(configOf(query)) as Promise<Row[]>
    },
    batch: (steps) => inTransaction(pool, steps),
    listen: (channel, heard) => listenOn(config, channel, heard),
    async backup() {
      throw new Error("a PostgreSQL database is backed up with pg_dump")
    },
    async [Symbol.asyncDispose]() {
      await kysely.destroy()
      // Kysely ends only what it has used itself.
      if (!pool.ending) await pool.end()
    },
  }
}

/**
 * All statements are sent at once, and the end when each has done what it must. The begin goes alone before them: if that
 * failed, they would each be a transaction.
 */
async function inTransaction<const S extends readonly Step[]>(pool: pg.Pool, steps: S): Promise<BatchRows<S>> {
  const queries = steps.map(({ query }) => configOf(query.compile()))
  const client = await pool.connect()
  let broken = false
  try {
    // Waits for no lock: who does not answer is gone.
    await client.query(BEGIN)
    const send = holdBack(client)
    let sent: Promise<PromiseSettledResult<pg.QueryResult>[]>
    try {
      sent = Promise.allSettled(queries.map((query) => client.query(query)))
    } finally {
      send()
    }
    const results = await sent
    const rows = steps.map((step, i) => {
      const result = resultOf(results[i])
      const returns = result.rows.length > 0 || !WRITES.has(result.command)
      checkRows(step, returns ? result.rows.length : (result.rowCount ?? 0))
      return result.rows
    })
    // Of a transaction that is to fail the server says so here only.
    const { command } = await client.query("commit")
    if (command !== "COMMIT") throw new Error(`the transaction ended with ${command}`)
    return rows as BatchRows<S>
  } catch (error) {
    broken = error instanceof pg.DatabaseError && isLost(error)
    await client.query("rollback").catch(() => {
      broken = true
    })
    throw error
  } finally {
    client.release(broken)
  }
}

const BEGIN = Object.assign({ text: "begin" }, { query_timeout: WAIT_MS })
const WRITES = new Set(["INSERT", "UPDATE", "DELETE", "MERGE"])

/** The first that failed tells why; what comes after it fails only for that. */
function resultOf(settled: PromiseSettledResult<pg.QueryResult> | undefined): pg.QueryResult {
  if (settled?.status === "fulfilled") return settled.value
  throw settled?.reason
}

/** With a name PostgreSQL parses and plans a statement once for each connection. */
const configOf = ({ sql, parameters, name }: Compiled<unknown>): pg.QueryConfig => ({
  text: sql,
  values: [...parameters],
  name,
})
