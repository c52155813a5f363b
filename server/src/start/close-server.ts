import type { Server, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import type { FastifyInstance } from "fastify"

/**
 * Node's own close waits for every connection, also for one that never sent a byte, and lets a busy one linger after
 * its answer. This knows which connections are owed an answer: the others end at once, those with their answer.
 */
export function closable(server: FastifyInstance): { close(graceMs: number): Promise<void> } {
  const http: Server = server.server
  const owed = new Map<Socket, number>()
  let closing = false
  http.on("connection", (socket) => {
    owed.set(socket, 0)
    socket.once("close", () => owed.delete(socket))
  })
  function answered(this: ServerResponse): void {
    const { socket } = this.req
    if (!owed.has(socket)) return
    const left = (owed.get(socket) ?? 1) - 1
    owed.set(socket, left)
    // In a moment: what the answer still has in the socket's buffer goes out first.
    if (closing && left === 0) socket.destroySoon()
  }
  http.on("request", ({ socket }, response) => {
    owed.set(socket, (owed.get(socket) ?? 0) + 1)
    response.on("close", answered)
  })
  return {
    async close(graceMs) {
      closing = true
      const closed = server.close()
      for (const [socket, answers] of owed) if (answers === 0) socket.destroySoon()
      const late = setTimeout(() => http.closeAllConnections(), graceMs)
      await closed
      clearTimeout(late)
    },
  }
}
