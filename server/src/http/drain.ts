import type { FastifyInstance } from "fastify"

const LOOK_EVERY_MS = 50

/**
 * Makes `close()` end: it refuses new connections, lets running answers finish, closes each connection as it falls idle
 * (those that never said anything too), and cuts what is still open after `drainMs`.
 */
export function closeGently(app: FastifyInstance, drainMs: number): void {
  let answering = 0
  let look: NodeJS.Timeout | undefined
  let cut: NodeJS.Timeout | undefined
  app.server.on("request", (_request, response) => {
    answering++
    response.once("close", () => {
      answering--
    })
  })
  app.addHook("preClose", async () => {
    look = setInterval(() => {
      if (answering === 0) app.server.closeAllConnections()
      else app.server.closeIdleConnections()
    }, LOOK_EVERY_MS)
    cut = setTimeout(() => app.server.closeAllConnections(), drainMs)
  })
  app.addHook("onClose", async () => {
    clearInterval(look)
    clearTimeout(cut)
  })
}
