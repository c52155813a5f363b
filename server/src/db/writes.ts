/** Counts what is written to each table, so that whoever keeps rows knows when to read them anew. */
export interface Writes {
  /** Goes up whenever something was written to one of these tables. */
  of(tables: readonly string[]): number
}

export interface WriteCounter extends Writes {
  /** What is to be called whenever the one connection that writes runs this statement. */
  watch(sql: string): () => void
}

const WRITE = /^\s*(?:insert into|update|delete from) "(\w+)"/i
const READ = /^\s*(?:select|begin|savepoint|release|pragma)\b/i

/** What is written inside a transaction counts again at its end: only then others see it. */
export function countWrites(): WriteCounter {
  const counts = new Map<string, number>()
  const uncommitted = new Set<string>()
  let others = 0
  const count = (table: string) => counts.set(table, (counts.get(table) ?? 0) + 1)
  return {
    of: (tables) => tables.reduce((sum, table) => sum + (counts.get(table) ?? 0), others),
    watch(sql) {
      const table = WRITE.exec(sql)?.[1]
      if (table !== undefined)
        return () => {
          count(table)
          uncommitted.add(table)
        }
      if (/^\s*commit\b/i.test(sql))
        return () => {
          uncommitted.forEach(count)
          uncommitted.clear()
        }
      if (READ.test(sql)) return () => {}
      return () => {
        others++
      }
    },
  }
}

/** The tables that a statement reads. */
export function tablesOf(sql: string): string[] {
  return [...new Set(Array.from(sql.matchAll(/\b(?:from|join) "(\w+)"/gi), ([, table = ""]) => table))]
}
