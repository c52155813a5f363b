import { Duplex } from "node:stream"
import { createDataReceiver, createDataSender } from "@autonomis/guest/flow.ts"
import { type FrameWriter, ProtocolError } from "@autonomis/guest/frames.ts"
import { Frame, type FrameType } from "@autonomis/guest/protocol.ts"

/** Open at once for one guest, those that are ending included. */
const MAX_TUNNELS = 128

export interface Tunnels {
  /** True when the frame was a tunnel's. Throws a ProtocolError when the guest does not keep to the rules. */
  onFrame(type: FrameType, id: number, payload: Buffer): boolean
  close(): void
}

interface Tunnel {
  stream: Duplex | null
  onFrame(type: FrameType, payload: Buffer): void
}

/** Connections that a guest opens, as streams; with back-pressure both ways. */
export function acceptTunnels(writer: FrameWriter, onTunnel: (stream: Duplex) => void): Tunnels {
  const tunnels = new Map<number, Tunnel>()
  let newest = 0

  function open(id: number): void {
    if (id <= newest) throw new ProtocolError("a tunnel that is open already")
    if (tunnels.size >= MAX_TUNNELS) throw new ProtocolError("too many tunnels")
    newest = id
    const tunnel = createTunnel(writer, id, () => tunnels.delete(id))
    tunnels.set(id, tunnel)
    if (tunnel.stream !== null) onTunnel(tunnel.stream)
  }

  return {
    onFrame(type, id, payload) {
      if (id === 0 || id % 2 !== 0) return false
      const tunnel = tunnels.get(id)
      if (tunnel !== undefined) tunnel.onFrame(type, payload)
      else if (type === Frame.OPEN) open(id)
      // Under way when the tunnel ended.
      else if (id > newest || (type !== Frame.WINDOW && type !== Frame.CANCEL))
        throw new ProtocolError("a frame for no tunnel")
      return true
    },
    close() {
      for (const tunnel of tunnels.values()) tunnel.stream?.destroy()
      tunnels.clear()
    },
  }
}

function createTunnel(writer: FrameWriter, id: number, gone: () => void): Tunnel {
  const sender = createDataSender(writer, id)
  const receiver = createDataReceiver(writer, id)
  let unread = 0
  let gotEnd = false
  let sentEnd = false
  let failed = false

  const stream = new Duplex({
    allowHalfOpen: true,
    read() {
      // Whoever reads has consumed what was pushed before.
      const consumed = unread
      unread = 0
      if (consumed > 0 && !failed) receiver.consumed(consumed)
    },
    write(chunk: Buffer, _encoding, done) {
      sender.send(chunk).then((sent) => done(sent ? null : new Error("the tunnel is closed")), done)
    },
    final(done) {
      // Told before the stream may close, or the guest would wait for it for ever.
      void sender.end().then(() => {
        sentEnd = true
        if (gotEnd) gone()
        done()
      })
    },
    destroy(error, done) {
      sender.close()
      if (!(gotEnd && sentEnd) && !failed) {
        failed = true
        // Kept until the guest has answered, so that what is still under way is known as this tunnel's.
        writer.send(Frame.FAIL, id)
      }
      done(error)
    },
  })
  // A connection that breaks is an everyday thing.
  stream.on("error", () => {})

  return {
    stream,
    onFrame(type, payload) {
      if (type === Frame.DATA) {
        if (gotEnd) throw new ProtocolError("data after the end of a tunnel")
        receiver.received(payload.length)
        unread += payload.length
        if (!failed && stream.push(payload)) {
          unread = 0
          receiver.consumed(payload.length)
        }
      } else if (type === Frame.WINDOW && payload.length === 4) sender.grant(payload.readUInt32BE(0))
      else if (type === Frame.END) {
        if (gotEnd) throw new ProtocolError("a second end of a tunnel")
        gotEnd = true
        if (!failed) stream.push(null)
        if (sentEnd) gone()
      } else if (type === Frame.CANCEL) {
        failed = true
        gone()
        stream.destroy()
      } else throw new ProtocolError(`an unexpected frame of type ${type} in a tunnel`)
    },
  }
}
