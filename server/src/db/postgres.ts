import { type CompiledQuery, Kysely, PostgresDialect } from "kysely"
import pg from "pg"
import { type BatchRows, checkRows, type Database, type Step } from "./database.ts"
import { listenOn } from "./postgres-listen.ts"
import type { Schema } from "./schema.ts"

const POOL_SIZE = 10
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
  const pool = new pg.Pool({ ...config, max: POOL_SIZE, types, connectionTimeoutMillis: 10_000 })
  pool.on("error", onError)
  const kysely = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  return {
    dialect: "postgres",
    writes: null,
    read: kysely,
    kysely,
    async fetch<Row>(query: CompiledQuery<Row>) {
      return (await kysely.executeQuery(query)).rows
    },
    batch<const S extends readonly Step[]>(steps: S) {
      return kysely.transaction().execute(async (trx) => {
        const answers: unknown[][] = []
        for (const step of steps) {
          const compiled = step.query.compile()
          const result = await trx.executeQuery(compiled)
          const returns = result.rows.length > 0 || result.numAffectedRows === undefined
          checkRows(step, returns ? result.rows.length : Number(result.numAffectedRows))
          answers.push(result.rows)
        }
        return answers as BatchRows<S>
      })
    },
    listen: (channel, heard) => listenOn(config, channel, heard),
    async backup() {
      throw new Error("a PostgreSQL database is backed up with pg_dump")
    },
    async [Symbol.asyncDispose]() {
      await kysely.destroy()
    },
  }
}
