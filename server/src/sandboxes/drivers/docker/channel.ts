import { once } from "node:events"
import { constants } from "node:fs"
import { chmod, chown, mkdir, open, rm } from "node:fs/promises"
import { createServer, type Socket } from "node:net"
import { join } from "node:path"

const SOCKET = "guest.sock"
/** Where the folder is shown inside, read-only. */
export const CHANNEL_INSIDE = "/run/autonomis"
export const CHANNEL_SOCKET = `${CHANNEL_INSIDE}/${SOCKET}`

/** The server's end of a guest's connection, waiting for it. */
export interface Channel {
  /** The first one to connect; nobody else can. Whoever it is inside, it is not trusted. */
  readonly accepted: Promise<Socket>
  /** Stops waiting. */
  close(): Promise<void>
}

/**
 * Listens in `folder`, which the container sees. The folder stays the same one over a restart of the server, so that a
 * guest which lives on finds the next socket there. `gid` may pass it, others may not.
 */
export async function listenForGuest(folder: string, gid: number | null): Promise<Channel> {
  await mkdir(folder, { recursive: true })
  await chmod(folder, gid === null ? 0o700 : 0o710)
  if (gid !== null) await chown(folder, 0, gid)
  await rm(join(folder, SOCKET), { force: true })
  // By the folder's descriptor: a socket's path may have 107 bytes only, and a data folder's may be longer.
  const handle = await open(folder, constants.O_DIRECTORY | constants.O_RDONLY)
  const server = createServer()
  server.maxConnections = 1
  let closing: Promise<void> | null = null
  const close = () => {
    // Takes the socket's name away at once.
    if (server.listening) server.close()
    closing ??= handle.close()
    return closing
  }
  const accepted = new Promise<Socket>((resolve) => {
    server.once("connection", (socket) => {
      // A connection that breaks off is seen by its `close`.
      socket.on("error", () => {})
      void close()
      resolve(socket)
    })
  })
  try {
    server.listen({ path: `/proc/self/fd/${handle.fd}/${SOCKET}`, readableAll: true, writableAll: true })
    await once(server, "listening")
  } catch (error) {
    await close()
    throw error
  }
  return { accepted, close }
}
