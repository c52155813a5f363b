import type { Duplex } from "node:stream"
import { type FrameType, HEADER_BYTES } from "./protocol.ts"

export class ProtocolError extends Error {
  override readonly name = "ProtocolError"
}

const MAX_TYPE = 11

/**
 * Takes frames out of a stream of bytes. Holds at most one frame's payload; a length over `maxPayload` or an unknown
 * type throws before anything is kept for it.
 */
export function createFrameReader(
  maxPayload: number,
  onFrame: (type: FrameType, channel: number, payload: Buffer) => void,
): (chunk: Buffer) => void {
  const header = Buffer.alloc(HEADER_BYTES)
  let headerFilled = 0
  let payload: Buffer | null = null
  let payloadFilled = 0

  return (chunk) => {
    let at = 0
    while (at < chunk.length || payload !== null) {
      if (payload === null) {
        const part = chunk.copy(header, headerFilled, at, at + HEADER_BYTES - headerFilled)
        headerFilled += part
        at += part
        if (headerFilled < HEADER_BYTES) return
        const length = header.readUInt32BE(0)
        if (length > maxPayload) throw new ProtocolError(`a frame of ${length} bytes`)
        checkType(header.readUInt8(4))
        headerFilled = 0
        if (chunk.length - at >= length) {
          const whole = chunk.subarray(at, at + length)
          at += length
          onFrame(checkType(header.readUInt8(4)), header.readUInt32BE(5), whole)
          continue
        }
        payload = Buffer.allocUnsafe(length)
        payloadFilled = 0
      }
      const part = chunk.copy(payload, payloadFilled, at)
      payloadFilled += part
      at += part
      if (payloadFilled < payload.length) return
      const whole = payload
      payload = null
      onFrame(checkType(header.readUInt8(4)), header.readUInt32BE(5), whole)
    }
  }
}

function checkType(type: number): FrameType {
  if (!isFrameType(type)) throw new ProtocolError(`a frame of type ${type}`)
  return type
}

const isFrameType = (type: number): type is FrameType => type >= 1 && type <= MAX_TYPE

const NOTHING = Buffer.alloc(0)

export function encodeFrame(type: FrameType, channel: number, payload: Uint8Array = NOTHING): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + payload.length)
  frame.writeUInt32BE(payload.length, 0)
  frame.writeUInt8(type, 4)
  frame.writeUInt32BE(channel, 5)
  frame.set(payload, HEADER_BYTES)
  return frame
}

export const encodeJson = (value: unknown): Buffer => Buffer.from(JSON.stringify(value))

/** Frames over a stream, one way: sending. `drained` waits until the stream takes more. */
export interface FrameWriter {
  send(type: FrameType, channel: number, payload?: Uint8Array): void
  drained(): Promise<void>
}

export function createFrameWriter(stream: Duplex): FrameWriter {
  let drain: Promise<void> | null = null
  return {
    send(type, channel, payload) {
      if (!stream.destroyed && !stream.writableEnded) stream.write(encodeFrame(type, channel, payload))
    },
    drained() {
      if (!stream.writableNeedDrain || stream.destroyed) return Promise.resolve()
      drain ??= new Promise<void>((resolve) => {
        const done = () => {
          stream.off("drain", done)
          stream.off("close", done)
          drain = null
          resolve()
        }
        stream.once("drain", done)
        stream.once("close", done)
      })
      return drain
    },
  }
}
