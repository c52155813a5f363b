import { MAX_RESULT_BYTES } from "../settings.ts"

/**
 * At most 16 KiB for the model: the beginning and, because errors stand there, the larger part of the end.
 * `rest` says where the whole is.
 */
export function boundOutput(text: string, rest: string | null): string {
  const bytes = Buffer.from(text)
  if (bytes.byteLength <= MAX_RESULT_BYTES) return text
  const head = cut(bytes.subarray(0, 4 * 1024))
  const tail = cut(bytes.subarray(bytes.byteLength - (MAX_RESULT_BYTES - 5 * 1024)))
  const left = bytes.byteLength - Buffer.byteLength(head) - Buffer.byteLength(tail)
  return `${head}\n[… ${left} bytes left out${rest === null ? "" : `; the whole output is in ${rest}`}]\n${tail}`
}

/** Whole characters only. */
function cut(bytes: Uint8Array): string {
  let start = 0
  let end = bytes.length
  while (start < end && ((bytes[start] ?? 0) & 0xc0) === 0x80) start++
  let last = end - 1
  while (last > start && ((bytes[last] ?? 0) & 0xc0) === 0x80) last--
  const lead = bytes[last] ?? 0
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1
  if (last + length > end) end = last
  return new TextDecoder().decode(bytes.subarray(start, end))
}
