import type { CompiledQuery } from "kysely"
import type { Compilable, Database } from "./database.ts"

/**
 * A query that is compiled once and then run with other parameters: what each request does takes no builder's time.
 * Build it with any values in the places of the parameters, in their order.
 */
export function prepared<Row, Parameters extends readonly (string | number | null)[]>(
  db: Database,
  query: Compilable<Row>,
): (...parameters: Parameters) => Promise<Row[]> {
  const compiled: CompiledQuery<Row> = query.compile()
  return async (...parameters) => {
    if (parameters.length !== compiled.parameters.length) throw new TypeError("wrong number of parameters")
    return db.fetch<Row>({ ...compiled, parameters })
  }
}
