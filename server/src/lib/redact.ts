import { formsOf, linesOf, MIN_CHARS, PREFIX_CHARS, type SecretForm } from "./redact-forms.ts"
import { createPrefixIndex, type PrefixIndex } from "./redact-index.ts"

export interface Secret {
  name: string
  value: string
}

/** Masks one stream of text that comes in pieces; a secret that is cut by a border is masked too. */
export interface RedactStream {
  /** Gives back what can be shown already: all but a tail of at most 31 characters that may be a secret's beginning. */
  push(chunk: string): string
  /** The rest. */
  end(): string
}

/**
 * Replaces secret values, their base64, hex, URL and JSON forms, and each line of a value of several lines, by
 * `[secret NAME]`. A form longer than 32 characters is recognised by its first 32 and masked for as long as the text
 * goes on like it, so a value that was cut off is masked as well. Values under 8 characters are not masked. An aid
 * against accidents, not a wall: other encodings pass.
 */
export interface Redactor {
  text(input: string): string
  /** The same for a file's bytes; `masked` says whether anything was replaced. */
  bytes(input: Uint8Array): { data: Uint8Array; masked: boolean }
  stream(): RedactStream
}

/** Whether a value is long enough to be masked. */
export const isMaskable = (value: string): boolean => value.length >= MIN_CHARS

/** Of all lines of all values so many are known; the values themselves and their forms always are. */
const MAX_LINES = 20_000
/** Values that begin with the same 32 characters: so many of them are followed further. */
const MAX_ALIKE = 16
/** Whole forms that were needed lately, kept so that a text full of beginnings does not encode 64 KiB at each. */
const MAX_KEPT = 256

export function createRedactor(secrets: Iterable<Secret>): Redactor {
  const forms = new Map<string, SecretForm[]>()
  let lines = 0
  const add = (form: SecretForm) => {
    const known = forms.get(form.prefix)
    if (known === undefined) forms.set(form.prefix, [form])
    else if (known.length < MAX_ALIKE) known.push(form)
  }
  const maskable = [...secrets].filter((secret) => isMaskable(secret.value))
  for (const secret of maskable) for (const form of formsOf(secret)) add(form)
  for (const secret of maskable) {
    if (lines >= MAX_LINES) break
    for (const form of linesOf(secret)) {
      if (lines++ >= MAX_LINES) break
      add(form)
    }
  }
  if (forms.size === 0)
    return { text: (input) => input, bytes: (data) => ({ data, masked: false }), stream: passThrough }
  const index = createPrefixIndex([...forms.keys()], MIN_CHARS, PREFIX_CHARS)
  const wholeOf = keepRecent()
  const stream = () => openStream(index, forms, wholeOf)
  const text = (input: string) => {
    const one = stream()
    return one.push(input) + one.end()
  }
  return { text, stream, bytes: (data) => maskBytes(data, text) }
}

const passThrough = (): RedactStream => ({ push: (chunk) => chunk, end: () => "" })

function maskBytes(data: Uint8Array, text: (input: string) => string): { data: Uint8Array; masked: boolean } {
  const view = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  let encoding: "utf8" | "latin1" = "utf8"
  let input = view.toString("utf8")
  if (!Buffer.from(input, "utf8").equals(view)) {
    encoding = "latin1"
    input = view.toString("latin1")
  }
  const output = text(input)
  return output === input ? { data, masked: false } : { data: Buffer.from(output, encoding), masked: true }
}

interface Following {
  whole: string
  at: number
  /** base64 and hex are often broken into lines. */
  wraps: boolean
}

function keepRecent(): (form: SecretForm) => string {
  const kept = new Map<SecretForm, string>()
  return (form) => {
    const whole = kept.get(form) ?? form.whole()
    kept.delete(form)
    kept.set(form, whole)
    const [oldest] = kept.keys()
    if (kept.size > MAX_KEPT && oldest !== undefined) kept.delete(oldest)
    return whole
  }
}

function openStream(
  index: PrefixIndex,
  forms: Map<string, SecretForm[]>,
  wholeOf: (form: SecretForm) => string,
): RedactStream {
  let held = ""
  /** After a mask: the forms that the text still goes on like. */
  let following: Following[] = []
  /** Line breaks inside a form; they belong to the text if the form does not go on after them. */
  let breaks = ""

  function run(input: string, final: boolean): string {
    const text = held + input
    let out = ""
    let from = 0
    let at = 0
    /** Up to here a whole pattern fits, so that what is found is the longest. */
    const whole = final ? text.length : text.length - PREFIX_CHARS + 1
    const find = index.searchIn(text)
    while (at < text.length) {
      if (following.length > 0) {
        at = follow(text, at)
        from = at
        if (following.length > 0) break
        out += breaks
        breaks = ""
        continue
      }
      const found = find(at, whole) ?? (final ? null : inTail(text, Math.max(at, whole, 0)))
      if (found === null) at = text.length
      else if (found.pattern === null) {
        at = found.at
        break
      } else {
        out += text.slice(from, found.at) + start(found.pattern)
        at = found.at + found.pattern.length
        from = at
      }
    }
    held = text.slice(at)
    out += text.slice(from, at)
    return final ? out + breaks : out
  }

  /** In the last characters: a pattern that has no longer one, or (null) the beginning of one, which is held back. */
  function inTail(text: string, from: number): { at: number; pattern: string | null } | null {
    for (let at = from; at < text.length; at++) {
      if (index.isBeginning(text, at)) return { at, pattern: null }
      const pattern = index.matchAt(text, at)
      if (pattern !== null) return { at, pattern }
    }
    return null
  }

  function start(pattern: string): string {
    const alike = forms.get(pattern) ?? []
    following = alike
      .filter((form) => form.longer)
      .map((form) => ({ whole: wholeOf(form), at: pattern.length, wraps: form.wraps }))
      .filter((form) => form.whole.length > form.at)
    return `[secret ${alike[0]?.name ?? ""}]`
  }

  function follow(text: string, from: number): number {
    let at = from
    while (at < text.length && following.length > 0) {
      const char = text[at]
      const on = following.filter((form) => form.whole[form.at] === char)
      if (on.length > 0) {
        for (const form of on) form.at++
        following = on.filter((form) => form.at < form.whole.length)
        breaks = ""
      } else if ((char === "\n" || char === "\r") && following.some((form) => form.wraps)) {
        following = following.filter((form) => form.wraps)
        breaks += char
      } else {
        following = []
        break
      }
      at++
    }
    return at
  }

  return { push: (chunk) => run(chunk, false), end: () => run("", true) }
}
