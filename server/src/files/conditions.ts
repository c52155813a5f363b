/** What a `Range` header asks of a file of `size` bytes. `end` is exclusive. */
export type RangeAnswer = { kind: "whole" } | { kind: "part"; start: number; end: number } | { kind: "unsatisfiable" }

/**
 * One range of bytes; several at once, another unit or anything unreadable give the whole file, as RFC 9110 allows. A
 * last byte before the first, or a first beyond the end, cannot be satisfied.
 */
export function rangeOf(header: string | undefined, size: number): RangeAnswer {
  const [, first, last] = /^bytes=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(header ?? "") ?? []
  if (first === undefined || last === undefined || (first === "" && last === "")) return { kind: "whole" }
  if (first === "") {
    const count = Math.min(Number(last), size)
    return count === 0 ? { kind: "unsatisfiable" } : { kind: "part", start: size - count, end: size }
  }
  const start = Number(first)
  const end = last === "" ? size : Math.min(Number(last) + 1, size)
  return start >= size || start >= end ? { kind: "unsatisfiable" } : { kind: "part", start, end }
}

/** The tags of an `If-Match` or `If-None-Match`, bare; `"*"` for any. Weak ones are marked, as they never match strongly. */
export function tagsOf(header: string | undefined): "*" | { tag: string; weak: boolean }[] | null {
  if (header === undefined) return null
  if (header.trim() === "*") return "*"
  return [...header.matchAll(/(W\/)?"([^"]*)"/g)].map(([, weak, tag]) => ({ tag: tag ?? "", weak: weak !== undefined }))
}

/** Does an `If-Match` hold for this tag? Compared strongly. */
export function matchesStrongly(header: string | undefined, etag: string): boolean {
  const tags = tagsOf(header)
  return tags === null || tags === "*" || tags.some(({ tag, weak }) => !weak && tag === etag)
}

/** Does an `If-None-Match` name this tag? Compared weakly. */
export function isNamed(header: string | undefined, etag: string): boolean {
  const tags = tagsOf(header)
  return tags === "*" || (tags?.some(({ tag }) => tag === etag) ?? false)
}
