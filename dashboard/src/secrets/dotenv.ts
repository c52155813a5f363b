export interface Pair {
  key: string
  value: string
}

/** The pairs of a pasted `.env`: `export`, quotes, comments and values over several lines in quotes are understood. */
export function parseDotenv(text: string): Pair[] {
  const pairs: Pair[] = []
  const line = /^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*("(?:\\[\s\S]|[^"\\])*"|'[^']*'|[^\n]*)/gm
  for (const [, key = "", raw = ""] of text.replace(/\r\n?/g, "\n").matchAll(line))
    pairs.push({ key, value: bare(raw) })
  return pairs
}

const ESCAPES: Record<string, string> = { n: "\n", r: "\r", t: "\t" }

function bare(raw: string): string {
  if (raw.length > 1 && raw.startsWith('"') && raw.endsWith('"'))
    return raw.slice(1, -1).replace(/\\([\s\S])/g, (_, c: string) => ESCAPES[c] ?? c)
  if (raw.length > 1 && raw.startsWith("'") && raw.endsWith("'")) return raw.slice(1, -1)
  return raw.replace(/[ \t]+#.*$/, "").trim()
}

export const looksLikeDotenv = (text: string) => parseDotenv(text).length > 0 && /[\n=]/.test(text.trim())
