import { duplexPair } from "node:stream"
import { serveGuest } from "@autonomis/guest/serve.ts"
import type { GuestStream, SandboxDriver } from "../../driver.ts"
import { createWorkspaces } from "../workspace.ts"

/** For tests of other parts: the guest's own code inside this process, on a folder. Opens in no time; holds nothing. */
export function createFakeDriver({ dataDir }: { dataDir: string }): SandboxDriver {
  const workspaces = createWorkspaces({ dataDir, ownUids: false })
  const running = new Map<string, GuestStream & { stop(): Promise<void> }>()
  let opened = 0

  const driver: SandboxDriver = {
    name: "fake",
    capabilities: { memoryLimit: false, networkPolicy: false, diskQuota: false, hostFiles: true },
    selfTest: async () => ({ driver: "fake", usable: true, holds: [], problem: null }),
    async open(spec) {
      const open = running.get(spec.id)
      if (open !== undefined) return open
      await workspaces.prepare(spec)
      const [stream, inside] = duplexPair()
      const marker = `${spec.id}.${process.pid}.${opened++}`
      const workDir = workspaces.path(spec)
      const baseEnv = { PATH: "/usr/bin:/bin", HOME: workDir, LANG: "C.UTF-8", TERM: "dumb", AUTONOMIS_GUEST: marker }
      const served = serveGuest(inside, { workDir, baseEnv, marker: `AUTONOMIS_GUEST=${marker}` })
      // A pair in memory does not tell one end that the other is gone.
      stream.once("close", () => inside.destroy())
      inside.once("close", () => stream.destroy())
      const ended = served.then(() => "closed")
      const guest = {
        stream,
        ended,
        async stop() {
          stream.destroy()
          await ended
        },
      }
      running.set(spec.id, guest)
      void ended.then(() => {
        if (running.get(spec.id) === guest) running.delete(spec.id)
      })
      return guest
    },
    async stop(id) {
      await running.get(id)?.stop()
    },
    async destroy(owner, signal) {
      await driver.stop(owner.id, signal)
      await workspaces.remove(owner, signal)
    },
    list: async () => [...running.keys()].map((id) => ({ id, running: true })),
    files: (owner) => workspaces.files(owner),
    async [Symbol.asyncDispose]() {
      await Promise.all([...running.values()].map((guest) => guest.stop()))
    },
  }
  return driver
}
