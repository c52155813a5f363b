import { type FrameWriter, ProtocolError } from "./frames.ts"
import { CHUNK_BYTES, Frame, WINDOW_BYTES } from "./protocol.ts"

/** One direction of DATA in one channel, sending side: waits while the receiver has granted nothing more. */
export interface DataSender {
  /** Resolves when the bytes are handed to the stream; false when the channel was closed before. In order of calls. */
  send(data: Uint8Array): Promise<boolean>
  /** Says that no more comes, after all that was sent before. */
  end(): Promise<void>
  grant(bytes: number): void
  /** Lets go of whoever waits; nothing is sent any more. */
  close(): void
}

export function createDataSender(writer: FrameWriter, channel: number): DataSender {
  let credit = WINDOW_BYTES
  let closed = false
  let wake: (() => void) | null = null
  let last: Promise<boolean> = Promise.resolve(true)

  async function sendAll(data: Uint8Array): Promise<boolean> {
    for (let at = 0; at < data.length; ) {
      while (credit === 0 && !closed) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      if (closed) return false
      const size = Math.min(credit, CHUNK_BYTES, data.length - at)
      credit -= size
      writer.send(Frame.DATA, channel, data.subarray(at, at + size))
      at += size
      await writer.drained()
    }
    return !closed
  }

  return {
    send(data) {
      last = last.then(() => sendAll(data))
      return last
    },
    end() {
      return last.then(() => {
        if (!closed) writer.send(Frame.END, channel)
      })
    },
    grant(bytes) {
      // A receiver that grants without end would only make itself take more; the sum stays a safe integer.
      credit = Math.min(credit + bytes, 2 ** 31)
      wake?.()
      wake = null
    },
    close() {
      closed = true
      wake?.()
      wake = null
    },
  }
}

/** Receiving side: checks that the sender keeps to its window, and grants anew what was consumed, half a window at a time. */
export interface DataReceiver {
  received(bytes: number): void
  consumed(bytes: number): void
}

export function createDataReceiver(writer: FrameWriter, channel: number): DataReceiver {
  let open = WINDOW_BYTES
  let owed = 0
  return {
    received(bytes) {
      open -= bytes
      if (open < 0) throw new ProtocolError(`more data than was granted in channel ${channel}`)
    },
    consumed(bytes) {
      owed += bytes
      if (owed < WINDOW_BYTES / 2) return
      const grant = Buffer.alloc(4)
      grant.writeUInt32BE(owed)
      writer.send(Frame.WINDOW, channel, grant)
      open += owed
      owed = 0
    },
  }
}
