/** Values (and lines) shorter than this are not masked. */
export const MIN_CHARS = 8
/** A form is found by so many first characters, and then followed. */
export const PREFIX_CHARS = 32

export interface SecretForm {
  name: string
  prefix: string
  /** The form goes on after the prefix. */
  longer: boolean
  /** The whole form; made when it is needed, because 1,000 secrets of 64 KiB in all their forms are 400 MB. */
  whole: () => string
  /** May be broken into lines by whoever printed it. */
  wraps: boolean
}

/** So many of a value's characters decide the prefix of every form of it. */
const HEAD_CHARS = 64

type Encode = (value: string) => string

const hex: Encode = (value) => Buffer.from(value).toString("hex")
const json: Encode = (value) => JSON.stringify(value).slice(1, -1)
const url: Encode = (value) => encodeURIComponent(value)

const PLAIN: Encode[] = [
  (value) => value,
  json,
  // As Python and others write it: everything beyond ASCII, or the slash, escaped.
  (value) =>
    json(value).replace(/[\u007f-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`),
  (value) => json(value).replaceAll("/", "\\/"),
  url,
  (value) => url(value).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`),
  (value) => url(value).replaceAll("%20", "+"),
  (value) => url(value).replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase()),
]

const WRAPPED: Encode[] = [
  hex,
  (value) => hex(value).toUpperCase(),
  base64(0, false),
  base64(0, true),
  base64(1, true),
  base64(2, true),
]

/**
 * At each of the three places that a value can have in a longer text's base64; `cut` leaves out the characters at its
 * borders that depend on the neighbours.
 */
function base64(offset: 0 | 1 | 2, cut: boolean): Encode {
  return (value) => {
    const data = Buffer.concat([Buffer.alloc(offset), Buffer.from(value)])
    const skip = offset === 0 ? 0 : offset + 1
    if (!cut) return data.toString("base64")
    const sure = Math.floor((data.length * 8) / 6)
    return data.toString("base64").slice(skip, sure)
  }
}

const urlSafe: (encode: Encode) => Encode = (encode) => (value) =>
  encode(value).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")

export function formsOf(secret: { name: string; value: string }): SecretForm[] {
  const found = new Map<string, SecretForm>()
  // A value whose last line break or blanks are lost on the way is the same secret.
  for (const text of new Set([secret.value, secret.value.trim()])) {
    if (text.length < MIN_CHARS) continue
    const value = text.toWellFormed()
    // Most keys look the same in all plain forms.
    const plain = /^[\w.~-]*$/.test(value) ? PLAIN.slice(0, 1) : PLAIN
    for (const encode of plain) put(found, secret.name, value, encode, false)
    for (const encode of WRAPPED) put(found, secret.name, value, encode, true)
    for (const encode of WRAPPED.slice(2)) put(found, secret.name, value, urlSafe(encode), true)
  }
  return [...found.values()]
}

function put(found: Map<string, SecretForm>, name: string, value: string, encode: Encode, wraps: boolean): void {
  const short = value.length <= HEAD_CHARS
  const form = encode(short ? value : headOf(value))
  if (form.length < MIN_CHARS) return
  const longer = !short || form.length > PREFIX_CHARS
  const prefix = form.slice(0, PREFIX_CHARS)
  const key = short ? form : `${prefix}\0${found.size}`
  if (!found.has(key)) found.set(key, { name, prefix, longer, whole: () => encode(value), wraps })
}

/** Never ends in half a character. */
function headOf(value: string): string {
  const head = value.slice(0, HEAD_CHARS)
  return head.isWellFormed() ? head : head.slice(0, -1)
}

/** Each line of a value of several; without the blanks around it, so that indenting does not hide it. */
export function* linesOf(secret: { name: string; value: string }): Generator<SecretForm> {
  if (!/[\n\r]/.test(secret.value)) return
  for (const raw of secret.value.split(/[\n\r]+/)) {
    const line = raw.trim()
    if (line.length < MIN_CHARS) continue
    yield {
      name: secret.name,
      prefix: line.slice(0, PREFIX_CHARS),
      longer: line.length > PREFIX_CHARS,
      whole: () => line,
      wraps: false,
    }
  }
}
