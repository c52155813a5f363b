import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { setTimeout as delay } from "node:timers/promises"

/** A server that died may be back by then; after it nobody needs the sandbox any more. */
const PATIENCE_MS = 600_000
const EVERY_MS = 50

/** One connection to the server after the other, the next once the last is over; ends when nobody has listened for long. */
export async function* connections(path: string, patienceMs = PATIENCE_MS): AsyncGenerator<Socket> {
  for (;;) {
    const socket = await connectWithin(path, patienceMs)
    if (socket === null) return
    yield socket
  }
}

async function connectWithin(path: string, patienceMs: number): Promise<Socket | null> {
  const end = performance.now() + patienceMs
  while (performance.now() < end) {
    const socket = connect(path)
    try {
      await once(socket, "connect")
      return socket
    } catch {
      socket.destroy()
      await delay(EVERY_MS)
    }
  }
  return null
}
