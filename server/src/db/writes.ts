/** Counts what is written to each table, so that whoever keeps rows knows when to read them anew. */
export interface Writes {
  /** Goes up whenever something was written to one of these tables. */
  of(tables: readonly string[]): number
  /** Goes up whenever something that stood in one of these tables may have been changed or removed. */
  changesOf(tables: readonly string[]): number
}

export interface WriteCounter extends Writes {
  /** What is to be called whenever the one connection that writes runs this statement. */
  watch(sql: string): () => void
}

const WRITE = /^\s*(?:insert into|update|delete from) "(\w+)"/i
const PLAIN_INSERT = /^\s*insert into (?!.*\bon\s+conflict\b.*\bdo\s+update\b)/is
const NOTHING_WRITTEN = /^\s*(?:select|begin|savepoint|release|rollback|pragma)\b/i

/** What is written inside a transaction counts again at its end: only then others see it. */
export function countWrites(): WriteCounter {
  const inserts = createCount()
  const changes = createCount()
  let others = 0
  return {
    of: (tables) => others + inserts.of(tables) + changes.of(tables),
    changesOf: (tables) => others + changes.of(tables),
    watch(sql) {
      const table = WRITE.exec(sql)?.[1]
      if (table !== undefined) {
        const { written } = PLAIN_INSERT.test(sql) ? inserts : changes
        return () => written(table)
      }
      if (/^\s*commit\b/i.test(sql))
        return () => {
          inserts.committed()
          changes.committed()
        }
      if (NOTHING_WRITTEN.test(sql)) return () => {}
      return () => {
        others++
      }
    },
  }
}

function createCount() {
  const counts = new Map<string, number>()
  const uncommitted = new Set<string>()
  const count = (table: string) => counts.set(table, (counts.get(table) ?? 0) + 1)
  return {
    of(tables: readonly string[]): number {
      let sum = 0
      for (const table of tables) sum += counts.get(table) ?? 0
      return sum
    },
    written(table: string): void {
      count(table)
      uncommitted.add(table)
    },
    committed(): void {
      uncommitted.forEach(count)
      uncommitted.clear()
    },
  }
}

/** The tables that a statement reads. */
export function tablesOf(sql: string): string[] {
  return [...new Set(Array.from(sql.matchAll(/\b(?:from|join) "(\w+)"/gi), ([, table = ""]) => table))]
}
