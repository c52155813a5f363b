import { crc32, deflateSync } from "node:zlib"

/** A picture with something to see in it: bars of a chart in one colour, by the heights (0 to 1) that are given. */
export function barsPng(heights: readonly number[], [r, g, b]: readonly [number, number, number]): Buffer {
  const width = 480
  const height = 300
  const rows = Buffer.alloc(height * (1 + width * 3), 255)
  for (let y = 0; y < height; y++) {
    const row = y * (1 + width * 3)
    rows[row] = 0
    for (let x = 0; x < width; x++) {
      const slot = (x / width) * heights.length
      const isBar = slot % 1 > 0.2 && slot % 1 < 0.8 && 1 - y / height < (heights[Math.floor(slot)] ?? 0)
      if (isBar) rows.set([r, g, b], row + 1 + x * 3)
    }
  }
  const head = Buffer.alloc(13)
  head.writeUInt32BE(width, 0)
  head.writeUInt32BE(height, 4)
  head.set([8, 2, 0, 0, 0], 8)
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
  return Buffer.concat([
    signature,
    chunk("IHDR", head),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ])
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data])
  const framed = Buffer.alloc(body.length + 8)
  framed.writeUInt32BE(data.length, 0)
  body.copy(framed, 4)
  framed.writeUInt32BE(crc32(body), body.length + 4)
  return framed
}
