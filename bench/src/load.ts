import { connect } from "node:net"

/**
 * Keeps so many connections busy with one request after another for a while; gives the answers a second. Its own few
 * lines instead of a client library: the less the client costs, the more of the machine is the server's.
 */
export async function load(
  url: string,
  { connections, ms, request, status }: { connections: number; ms: number; request: () => string; status: number },
): Promise<number> {
  const { hostname, port } = new URL(url)
  const start = performance.now()
  const end = start + ms
  let answered = 0
  const one = () =>
    new Promise<void>((resolve, reject) => {
      const socket = connect(Number(port), hostname)
      let text = ""
      socket.setNoDelay(true)
      socket.setEncoding("latin1")
      socket.once("error", reject)
      socket.once("connect", () => socket.write(request()))
      socket.on("data", (chunk: string) => {
        text += chunk
        const head = text.indexOf("\r\n\r\n")
        if (head < 0) return
        const length = Number(/content-length: (\d+)/i.exec(text.slice(0, head))?.[1])
        if (text.length < head + 4 + length) return
        if (!text.startsWith(`HTTP/1.1 ${status}`)) return reject(new Error(text.slice(0, 500)))
        text = ""
        answered++
        if (performance.now() < end) socket.write(request())
        else {
          socket.destroy()
          resolve()
        }
      })
    })
  await Promise.all(Array.from({ length: connections }, one))
  return answered / ((performance.now() - start) / 1000)
}

/** One HTTP/1.1 request as text. */
export function request(method: string, path: string, key: string, body?: string): string {
  const content = body === undefined ? "" : `content-type: application/json\r\ncontent-length: ${body.length}\r\n`
  return `${method} ${path} HTTP/1.1\r\nhost: bench\r\nx-api-key: ${key}\r\n${content}\r\n${body ?? ""}`
}
