import type { AddressInfo } from "node:net"
import { connect, createServer, type Socket } from "node:net"

/** A line between browser and server that can be cut and mended, as a network can. */
export interface Line extends AsyncDisposable {
  url: string
  /** Ends every connection and takes no other. */
  cut(): void
  /** Lets connections through again, to another server if one is given. */
  mend(target?: string): void
}

export async function lineTo(target: string): Promise<Line> {
  let to = new URL(target)
  const open = new Set<Socket>()
  let cut = false
  const server = createServer((near) => {
    if (cut) return void near.destroy()
    const far = connect(Number(to.port), to.hostname)
    for (const [from, into] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(from)
      from.on("error", () => into.destroy())
      from.on("close", () => {
        open.delete(from)
        into.destroy()
      })
      from.pipe(into)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port: own } = server.address() as AddressInfo
  const end = () => {
    for (const socket of open) socket.destroy()
  }
  return {
    url: `http://127.0.0.1:${own}`,
    cut() {
      cut = true
      end()
    },
    mend(another = to.href) {
      to = new URL(another)
      cut = false
    },
    async [Symbol.asyncDispose]() {
      end()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
