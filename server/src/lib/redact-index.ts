/** Finds which of very many short strings stand in a text, at a cost per character that does not grow with their number. */
export interface PrefixIndex {
  /** Makes a search of this text: the first place in [from, to) where a pattern stands, with the longest one there. */
  searchIn(text: string): (from: number, to: number) => { at: number; pattern: string } | null
  /** The longest pattern at exactly this place. */
  matchAt(text: string, at: number): string | null
  /** Whether the whole rest of the text is the beginning of a (longer) pattern. */
  isBeginning(text: string, at: number): boolean
}

const BASE = 0x01000193
const SPREAD = 0x9e3779b1

/** A rolling hash over the first `minChars` of each pattern passes few places; those are looked up in a sorted list. */
export function createPrefixIndex(patterns: string[], minChars: number, maxChars: number): PrefixIndex {
  const sorted = [...patterns].sort(byCodeUnit)
  const parents = parentsOf(sorted)
  const bits = Math.max(12, Math.ceil(Math.log2(sorted.length * 32)))
  const filter = new Uint8Array(2 ** (bits - 3))
  const shift = 32 - bits
  let lead = 1
  for (let i = 0; i < minChars; i++) lead = Math.imul(lead, BASE)

  const slot = (hash: number) => Math.imul(hash, SPREAD) >>> shift
  const hashAt = (text: string, at: number) => {
    let hash = 0
    for (let i = at; i < at + minChars; i++) hash = (Math.imul(hash, BASE) + text.charCodeAt(i)) | 0
    return hash
  }
  for (const pattern of sorted) {
    const bit = slot(hashAt(pattern, 0))
    filter[bit >>> 3] = (filter[bit >>> 3] ?? 0) | (1 << (bit & 7))
  }

  /** How many patterns are not after the text that stands at `at`. */
  function rank(text: string, at: number): number {
    let low = 0
    let high = sorted.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compare(sorted[middle] ?? "", text, at) <= 0) low = middle + 1
      else high = middle
    }
    return low
  }

  function matchAt(text: string, at: number): string | null {
    // The last one not after the text, or one of those that it begins with in turn.
    for (let i = rank(text, at) - 1; i >= 0; i = parents[i] ?? -1) {
      const pattern = sorted[i] ?? ""
      if (text.startsWith(pattern, at)) return pattern
    }
    return null
  }

  return {
    matchAt,
    isBeginning(text, at) {
      const length = text.length - at
      if (length >= maxChars) return false
      const rest = text.slice(at)
      // Patterns that begin with the rest come right after it; an equal one stands before.
      return (sorted[rank(text, at)] ?? "").startsWith(rest)
    },
    searchIn(text) {
      const codes = new Uint16Array(text.length)
      Buffer.from(codes.buffer).write(text, "utf16le")
      return (from, to) => {
        const end = Math.min(to, text.length - minChars + 1)
        if (from >= end) return null
        let hash = hashAt(text, from)
        for (let at = from; ; ) {
          const bit = Math.imul(hash, SPREAD) >>> shift
          if ((Number(filter[bit >>> 3]) & (1 << (bit & 7))) !== 0) {
            const pattern = matchAt(text, at)
            if (pattern !== null) return { at, pattern }
          }
          if (at + 1 >= end) return null
          hash = (Math.imul(hash, BASE) + Number(codes[at + minChars]) - Math.imul(lead, Number(codes[at]))) | 0
          at++
        }
      }
    },
  }
}

const byCodeUnit = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

/** For each pattern the longest other that it begins with; -1 for none. */
function parentsOf(sorted: string[]): Int32Array {
  const parents = new Int32Array(sorted.length)
  const open: number[] = []
  sorted.forEach((pattern, i) => {
    while (open.length > 0 && !pattern.startsWith(sorted[open.at(-1) ?? 0] ?? "")) open.pop()
    parents[i] = open.at(-1) ?? -1
    open.push(i)
  })
  return parents
}

/** Below 0: the pattern sorts before the text at `at`, or the text begins with it; above 0: after. */
function compare(pattern: string, text: string, at: number): number {
  for (let i = 0; i < pattern.length; i++) {
    if (at + i >= text.length) return 1
    const difference = pattern.charCodeAt(i) - text.charCodeAt(at + i)
    if (difference !== 0) return difference
  }
  return -1
}
