import { duplexPair } from "node:stream"
import { serveGuest } from "@autonomis/guest/serve.ts"
import type { SandboxDriver } from "../../driver.ts"
import { createRunning } from "../running.ts"
import { createWorkspaces } from "../workspace.ts"

/** For tests of other parts: the guest's own code inside this process, on a folder. Opens in no time; holds nothing. */
export function createFakeDriver({ dataDir }: { dataDir: string }): SandboxDriver {
  const workspaces = createWorkspaces({ dataDir, ownUids: false })
  const running = createRunning(workspaces)
  let opened = 0

  return {
    name: "fake",
    capabilities: { memoryLimit: false, networkPolicy: false, diskQuota: false, hostFiles: true },
    selfTest: async () => ({ driver: "fake", usable: true, holds: [], problem: null }),
    open: (spec) =>
      running.open(spec.id, async () => {
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
        return {
          stream,
          ended,
          async stop() {
            stream.destroy()
            await ended
          },
        }
      }),
    ...running.verbs,
    [Symbol.asyncDispose]: () => running.stopAll(),
  }
}
