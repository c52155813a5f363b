import { createHash } from "node:crypto"

/** Bytes that stood in a body as base64, in memory of their own that can be given to another thread. */
export type Lifted = { bytes: Uint8Array<ArrayBuffer>; sha256: string } | { fault: "not base64" }

/** Shorter strings are left where they are. */
const LONG = 64 * 1024
/** What is left of a lifted string, so that what it begins with can still be told. */
const LEFT = 64
const DATA_URL = /^data:[^,]{1,100};base64,/

/**
 * Takes long base64 out of a parsed body: strings named `data`, and data URLs named `url`. Gives it by its place, as
 * faults name places (`messages[0].content[1].data`); in the body only the beginning is left.
 */
export function lift(body: unknown): [place: string, lifted: Lifted][] {
  const found: [string, Lifted][] = []
  walk(body, "", found)
  return found
}

function walk(value: unknown, place: string, found: [string, Lifted][]): void {
  if (Array.isArray(value)) {
    for (const [i, inner] of value.entries()) walk(inner, `${place}[${i}]`, found)
  } else if (isObject(value)) {
    for (const [name, inner] of Object.entries(value)) {
      const at = place === "" ? name : `${place}.${name}`
      const begin = typeof inner === "string" && inner.length >= LONG ? beginOf(name, inner) : -1
      if (typeof inner !== "string" || begin < 0) walk(inner, at, found)
      else {
        found.push([at, decode(inner.slice(begin))])
        value[name] = inner.slice(0, begin + LEFT)
      }
    }
  }
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null

/** Where the base64 begins; -1 where none is looked for. */
function beginOf(name: string, text: string): number {
  if (name === "data") return 0
  return name === "url" ? (DATA_URL.exec(text)?.[0].length ?? -1) : -1
}

const SPACES = [" ", "\n", "\r", "\t", "\f"]

/** The number of bytes that base64 of this form stands for. */
export function decodedSize(base64: string): number {
  const padding = base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0
  return Math.floor(((base64.length - padding) * 3) / 4)
}

/** Decoding it is ten times as fast as a regular expression; but the decoder passes over white space. */
export function fromBase64(base64: string): Uint8Array<ArrayBuffer> | null {
  if (SPACES.some((space) => base64.includes(space))) return null
  try {
    const bytes = new Uint8Array(decodedSize(base64))
    const { read, written } = bytes.setFromBase64(base64)
    return read === base64.length && written === bytes.length ? bytes : null
  } catch {
    return null
  }
}

function decode(base64: string): Lifted {
  const bytes = fromBase64(base64)
  if (bytes === null) return { fault: "not base64" }
  return { bytes, sha256: createHash("sha256").update(bytes).digest("hex") }
}
