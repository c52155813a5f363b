import { AppError } from "./errors.ts"

/**
 * A page's cursor: the sort values of its last row, so that the next page begins right after them whatever came or
 * went in between. Opaque to clients; `undefined` gives null, the first page.
 */
export function encodeCursor(values: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(values)).toString("base64url")
}

/** The values of a cursor of the given types; 400 for one that this list did not make. */
export function decodeCursor<const T extends readonly ("string" | "number")[]>(
  cursor: string | undefined,
  types: T,
): CursorValues<T> | null {
  if (cursor === undefined) return null
  const values = parse(cursor)
  if (!fits(values, types)) throw new AppError("invalid_request", "the cursor is not valid: take next_cursor of a page")
  return values
}

type CursorValues<T extends readonly ("string" | "number")[]> = {
  -readonly [K in keyof T]: T[K] extends "string" ? string : number
}

function parse(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, "base64url").toString())
  } catch {
    return null
  }
}

function fits<T extends readonly ("string" | "number")[]>(values: unknown, types: T): values is CursorValues<T> {
  if (!Array.isArray(values) || values.length !== types.length) return false
  return values.every((value, i) =>
    types[i] === "number"
      ? Number.isSafeInteger(value)
      : types[i] === typeof value && value.isWellFormed() && !value.includes("\0") && value.length <= 300,
  )
}

/** Cuts what was read one row beyond the limit, and makes the cursor of the last row that stays. */
export function page<Row>(
  rows: readonly Row[],
  limit: number,
  sortValues: (row: Row) => readonly (string | number)[],
): { rows: Row[]; nextCursor: string | null } {
  const kept = rows.slice(0, limit)
  const last = kept.at(-1)
  return { rows: kept, nextCursor: rows.length > limit && last !== undefined ? encodeCursor(sortValues(last)) : null }
}
