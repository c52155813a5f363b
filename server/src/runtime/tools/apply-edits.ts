export interface Edit {
  oldText: string
  newText: string
}

/** More would be more than one call's work, and each searches the whole file. */
const MAX_EDITS = 64
const MAX_DIFF = 2000
const CONTEXT_LINES = 2

/**
 * Replaces each `oldText`, which must occur once, and tells what changed. Linear in the file for each edit, whatever
 * the texts are: searching and comparing whole files by the usual means takes seconds on input made for it.
 * Line ends are kept: a text in which all end with CR LF is matched, and written again, so.
 * Errors: in words for the model.
 */
export async function applyEdits(
  path: string,
  data: Uint8Array,
  edits: Edit[],
): Promise<{ text: string; diff: string }> {
  if (edits.length === 0) throw new Error("'edits' is empty")
  if (edits.length > MAX_EDITS) throw new Error(`${edits.length} edits in one call; at most ${MAX_EDITS} can be made`)
  let raw: string
  try {
    raw = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data)
  } catch {
    throw new Error(`${path} is not a text file`)
  }
  const crlf = raw.includes("\r\n") && !/(?<!\r)\n/.test(raw)
  const text = crlf ? raw.replaceAll("\r\n", "\n") : raw
  const lf = (part: string) => (crlf ? part.replaceAll("\r\n", "\n") : part)

  const places: Place[] = []
  for (const [index, edit] of edits.entries()) {
    const name = edits.length === 1 ? "oldText" : `edits[${index}].oldText`
    const oldText = lf(edit.oldText)
    if (oldText === "") throw new Error(`${name} is empty`)
    const [start, again] = await findTwice(text, oldText)
    if (start === undefined) throw new Error(`${name} was not found in ${path}.${hint(text, oldText)}`)
    if (again !== undefined) {
      const lines = `lines ${lineAt(text, start)} and ${lineAt(text, again)}`
      throw new Error(`${name} occurs more than once in ${path} (${lines}); give more of its surroundings`)
    }
    places.push({ start, end: start + oldText.length, newText: lf(edit.newText) })
  }
  places.sort((a, b) => a.start - b.start)
  let out = ""
  let from = 0
  for (const { start, end, newText } of places) {
    if (start < from) throw new Error("two edits overlap; make them one")
    out += text.slice(from, start) + newText
    from = end
  }
  out += text.slice(from)
  if (out === text) throw new Error(`the edits would leave ${path} as it is`)
  return { text: crlf ? out.replaceAll("\n", "\r\n") : out, diff: diffOf(text, places) }
}

/** Characters that are searched before others get a turn; about a millisecond. */
const SLICE = 128 * 1024

/** The first two places of `part`, by Knuth, Morris and Pratt: never more than two looks at each character. */
async function findTwice(text: string, part: string): Promise<number[]> {
  const back = new Uint32Array(part.length)
  for (let i = 1, k = 0; i < part.length; i++) {
    while (k > 0 && part.charCodeAt(i) !== part.charCodeAt(k)) k = back[k - 1] ?? 0
    if (part.charCodeAt(i) === part.charCodeAt(k)) k++
    back[i] = k
  }
  const found: number[] = []
  for (let i = 0, k = 0; i < text.length && found.length < 2; i++) {
    if (i % SLICE === SLICE - 1) await new Promise((resolve) => setImmediate(resolve))
    while (k > 0 && text.charCodeAt(i) !== part.charCodeAt(k)) k = back[k - 1] ?? 0
    if (text.charCodeAt(i) === part.charCodeAt(k)) k++
    if (k === part.length) {
      found.push(i - k + 1)
      k = back[k - 1] ?? 0
    }
  }
  return found
}

/** Most misses are a wrong space at a line's end or edge: says where the text's first line stands. */
function hint(text: string, oldText: string): string {
  const first = oldText
    .split("\n", 50)
    .map((line) => line.trim())
    .find((line) => line.length >= 4 && line.length <= 200)
  if (first === undefined) return ""
  const at = text.indexOf(first)
  if (at === -1) return " Read the file again: it may have changed."
  return ` Its first line stands at line ${lineAt(text, at)}, but what surrounds it is different: compare spaces and line breaks.`
}

function lineAt(text: string, index: number): number {
  let line = 1
  for (let at = text.indexOf("\n"); at !== -1 && at < index; at = text.indexOf("\n", at + 1)) line++
  return line
}

interface Place {
  start: number
  end: number
  newText: string
}

/** The changed lines with two of their surroundings each; what was replaced is known, so that nothing is compared. */
function diffOf(text: string, places: Place[]): string {
  let diff = ""
  for (const { start, end, newText } of places) {
    if (diff.length > MAX_DIFF) break
    const lineStart = text.lastIndexOf("\n", start - 1) + 1
    const nextBreak = text.indexOf("\n", end)
    const lineEnd = nextBreak === -1 ? text.length : nextBreak
    const before = text
      .slice(Math.max(0, lineStart - 1000), lineStart)
      .split("\n")
      .slice(-CONTEXT_LINES - 1, -1)
    const after = text.slice(lineEnd + 1, lineEnd + 1001).split("\n", CONTEXT_LINES)
    const was = text.slice(lineStart, lineEnd)
    const is = text.slice(lineStart, start) + newText + text.slice(end, lineEnd)
    const mark = (sign: string, lines: string[]) => lines.map((line) => `${sign}${line}\n`).join("")
    diff += `@@ line ${lineAt(text, start)} @@\n${mark(" ", before)}${mark("-", head(was))}${mark("+", head(is))}${mark(" ", after)}`
  }
  return diff.length > MAX_DIFF ? `${diff.slice(0, MAX_DIFF)}\n…` : diff
}

const head = (text: string) => text.slice(0, MAX_DIFF).split("\n")
