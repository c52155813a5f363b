import assert from "node:assert/strict"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, type Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import { connections } from "./connections.ts"

async function listen(path: string): Promise<Server> {
  const server = createServer().listen(path)
  await once(server, "listening")
  return server
}

test("a guest connects to the next server at the same place, and gives up when there is none for long", async () => {
  const folder = mkdtempSync(join(tmpdir(), "autonomis-guest-"))
  try {
    const path = join(folder, "sock")
    const all = connections(path, 1_000)
    for (let i = 0; i < 2; i++) {
      // The first comes while it is looked for already, the second after the first is gone.
      const next = all.next()
      const server = await listen(path)
      const [peer] = await once(server, "connection")
      const { value } = await next
      value?.destroy()
      peer.destroy()
      server.close()
      await once(server, "close")
    }
    assert.equal((await all.next()).done, true)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
