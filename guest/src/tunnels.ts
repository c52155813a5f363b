import { createServer, type Server, type Socket } from "node:net"
import { createDataReceiver, createDataSender, type DataReceiver, type DataSender } from "./flow.ts"
import type { FrameWriter } from "./frames.ts"
import { Frame, type FrameType, PROXY_PORT } from "./protocol.ts"

interface Tunnel {
  socket: Socket
  sender: DataSender
  receiver: DataReceiver
  /** Each side has said END. */
  sentEnd: boolean
  gotEnd: boolean
}

/** The sandbox's only way out: what connects to the proxy's port is carried, byte for byte, to the proxy in the server. */
export interface Tunnels {
  onFrame(type: FrameType, id: number, payload: Buffer): void
  close(): void
}

const MAX_TUNNELS = 64

export function openTunnels(writer: FrameWriter): Tunnels {
  const tunnels = new Map<number, Tunnel>()
  let nextId = 2
  const server: Server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    if (tunnels.size >= MAX_TUNNELS) return void socket.destroy()
    const id = nextId
    nextId += 2
    const tunnel = {
      socket,
      sender: createDataSender(writer, id),
      receiver: createDataReceiver(writer, id),
      sentEnd: false,
      gotEnd: false,
    }
    tunnels.set(id, tunnel)
    writer.send(Frame.OPEN, id)
    // A connection that breaks off ends its tunnel by its own `close`.
    carry(id, tunnel).catch(() => {})
  })
  server.on("error", () => {})
  server.listen(PROXY_PORT, "127.0.0.1")
  // Nobody waits for it.
  server.unref()

  async function carry(id: number, tunnel: Tunnel): Promise<void> {
    tunnel.socket.on("error", () => {})
    tunnel.socket.once("close", () => drop(id, tunnel))
    for await (const chunk of tunnel.socket.iterator({ destroyOnReturn: false })) {
      if (!(await tunnel.sender.send(chunk))) return
    }
    await tunnel.sender.end()
    tunnel.sentEnd = true
    finish(id, tunnel)
  }

  function finish(id: number, tunnel: Tunnel): void {
    if (tunnel.sentEnd && tunnel.gotEnd) tunnels.delete(id)
  }

  /** The program inside went away before both sides were done. */
  function drop(id: number, tunnel: Tunnel): void {
    tunnel.sender.close()
    if (tunnels.delete(id)) writer.send(Frame.CANCEL, id)
  }

  return {
    onFrame(type, id, payload) {
      const tunnel = tunnels.get(id)
      if (tunnel === undefined) return
      if (type === Frame.DATA) {
        tunnel.receiver.received(payload.length)
        tunnel.socket.write(payload, () => tunnel.receiver.consumed(payload.length))
      } else if (type === Frame.WINDOW) tunnel.sender.grant(payload.readUInt32BE(0))
      else if (type === Frame.END) {
        tunnel.gotEnd = true
        tunnel.socket.end()
        finish(id, tunnel)
      } else {
        // Answered with CANCEL, after which the server knows that nothing more comes.
        drop(id, tunnel)
        tunnel.socket.destroy()
      }
    },
    close() {
      server.close()
      for (const tunnel of tunnels.values()) tunnel.socket.destroy()
    },
  }
}
