import { MAX_RESULT_BYTES, MIB } from "../settings.ts"
import { defineTool, orNever, result, type Tool, type ToolDeps } from "./tool.ts"

/** Enough for what is shown of a text, and to tell an image or another binary. */
const FIRST_BYTES = 64 * 1024
const MAX_TEXT_BYTES = 4 * MIB
const MAX_IMAGE_BYTES = 5 * MIB
const MASKED =
  "[Values of secrets are shown as [secret NAME]; the file holds the values. Written back like this they would be lost: change such a file with bash.]"

export function readTool({ pi, hands, images, takeImageBytes }: ToolDeps): Tool {
  const parameters = pi.Type.Object({
    path: pi.Type.String({ description: "The file, absolute or relative to /work" }),
    offset: pi.Type.Optional(pi.Type.Number({ description: "First line to show, counted from 1" })),
    limit: pi.Type.Optional(pi.Type.Number({ description: "How many lines to show at most" })),
  })

  async function readImage(path: string, type: string, size: number, signal: AbortSignal) {
    if (!images) return result(`${path} is an image (${type}, ${size} bytes); this model cannot look at images.`)
    if (size > MAX_IMAGE_BYTES) throw new Error(`${path} is an image of ${size} bytes; at most 5 MiB can be shown`)
    const { data } = await hands.readFile(path, { offset: 0, length: MAX_IMAGE_BYTES }, signal)
    const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64")
    if (!takeImageBytes(text.length)) throw new Error("too many images in this run: no more can be shown")
    return {
      content: [
        { type: "text" as const, text: `${path} (${type}, ${size} bytes)` },
        { type: "image" as const, data: text, mimeType: type },
      ],
      details: {},
    }
  }

  return defineTool({
    name: "read",
    label: "read",
    description:
      "Shows a text file (at most 16 KiB at a time; go on with 'offset') or an image (png, jpeg, gif, webp).",
    parameters,
    async execute(_id, { path, offset = 1, limit }, given) {
      const signal = orNever(given)
      let asked = FIRST_BYTES
      let file = await hands.readFile(path, { offset: 0, length: asked }, signal)
      const type = imageType(file.data)
      if (type !== null) return readImage(path, type, file.sizeBytes, signal)
      if (file.data.subarray(0, 8192).includes(0)) {
        throw new Error(`${path} is a binary file (${file.sizeBytes} bytes); look at it with bash`)
      }
      if (file.sizeBytes > FIRST_BYTES && (offset > 1 || limit !== undefined)) {
        asked = MAX_TEXT_BYTES
        file = await hands.readFile(path, { offset: 0, length: asked }, signal)
      }
      // What is masked has another length than what stands in the file.
      const text = { data: file.data, whole: asked >= file.sizeBytes }
      const shown = showLines(path, text, Math.max(1, Math.floor(offset)), limit)
      return result(file.masked ? `${shown}\n\n${MASKED}` : shown)
    },
  })
}

/** Looks at bytes, not at a list of lines: a file of nothing but line breaks would make millions of them. */
function showLines(path: string, file: { data: Uint8Array; whole: boolean }, from: number, limit?: number): string {
  const { data, whole } = file
  let line = 1
  let start = from === 1 ? 0 : -1
  let last = 0
  for (let i = 0; i < data.length; i++) {
    if (data[i] !== 10) continue
    line++
    last = i + 1
    if (line === from) start = last
  }
  // A line break at the very end begins no further line.
  const lines = whole && last === data.length && line > 1 ? line - 1 : line
  if (start === -1 || from > lines) {
    throw new Error(
      whole
        ? `${path} has ${lines} lines; line ${from} is past its end`
        : `line ${from} is past the first 4 MiB of ${path}; use bash: sed -n '${from},+200p'`,
    )
  }
  const most = limit === undefined ? lines : Math.max(1, Math.floor(limit))
  let end = start
  let shown = 0
  while (shown < most && end < data.length) {
    const lineBreak = data.indexOf(10, end)
    const next = lineBreak === -1 ? data.length : lineBreak + 1
    if (next - start > MAX_RESULT_BYTES) break
    end = next
    shown++
  }
  const decode = (to: number) => new TextDecoder().decode(data.subarray(start, to)).replace(/\n$/, "")
  if (shown === 0 && start < data.length) {
    return `${decode(start + 4000)}\n[Line ${from} is longer than 16 KiB; only its beginning is shown. Use bash to see more.]`
  }
  const next = from + shown
  if (whole && next > lines) return decode(end)
  const total = whole ? `${lines}` : `more than ${lines}`
  return `${decode(end)}\n\n[Lines ${from} to ${next - 1} of ${total}. Go on with offset=${next}.]`
}

function imageType(data: Uint8Array): string | null {
  const starts = (...bytes: number[]) => bytes.every((byte, index) => data[index] === byte)
  if (starts(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a)) return "image/png"
  if (starts(0xff, 0xd8, 0xff)) return "image/jpeg"
  if (starts(0x47, 0x49, 0x46, 0x38)) return "image/gif"
  const webp = data.subarray(8, 12)
  if (starts(0x52, 0x49, 0x46, 0x46) && webp[0] === 0x57 && webp[1] === 0x45 && webp[2] === 0x42) return "image/webp"
  return null
}
