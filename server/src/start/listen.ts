import type { FastifyInstance } from "fastify"
import { StartError } from "../lib/start-error.ts"
import { codeOf } from "./data-folder.ts"

/** Opens the port and returns the address that reaches it from this machine. */
export async function listen(server: FastifyInstance, host: string, port: number): Promise<string> {
  try {
    await server.listen({ host, port })
  } catch (error) {
    const code = codeOf(error)
    if (code === "EADDRINUSE")
      throw new StartError(`AUTONOMIS_PORT: port ${port} on ${host} is in use by another program.`)
    if (code === "EACCES") throw new StartError(`AUTONOMIS_PORT: this account may not open port ${port}.`)
    if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND" || code === "EAI_AGAIN") {
      throw new StartError(`AUTONOMIS_HOST: ${host} is not an address of this machine.`)
    }
    throw error
  }
  const opened = server.server.address()
  const realPort = typeof opened === "object" && opened !== null ? opened.port : port
  return `http://${host.includes(":") ? `[${host}]` : host}:${realPort}`
}
