import type { Logger } from "../../../lib/log.ts"
import type { SandboxDriver } from "../../driver.ts"
import { CHANNEL_FD, GUEST_FILE, NODE_FLAGS, startGuestProcess } from "../guest-process.ts"
import { signalCommands } from "../process-tree.ts"
import { createRunning } from "../running.ts"
import { createWorkspaces } from "../workspace.ts"

/** No sandbox at all: commands run as the server's own user and see what it sees. For development only. */
export function createNoneDriver({ dataDir, log }: { dataDir: string; log: Logger }): SandboxDriver {
  const workspaces = createWorkspaces({ dataDir, ownUids: false })
  const running = createRunning(workspaces)
  let warned = false

  return {
    name: "none",
    capabilities: { memoryLimit: false, networkPolicy: false, diskQuota: false, hostFiles: true },
    async selfTest() {
      if (!warned)
        log.warn(
          "AUTONOMIS_SANDBOX=none: agents run WITHOUT ANY SANDBOX, with all the rights of this server. For development only.",
        )
      warned = true
      return { driver: "none", usable: true, holds: [], problem: null }
    },
    open: (spec) =>
      running.open(spec.id, async () => {
        await workspaces.prepare(spec)
        const workspace = workspaces.path(spec)
        const started = startGuestProcess({
          command: process.execPath,
          args: [...NODE_FLAGS, GUEST_FILE, String(CHANNEL_FD), workspace],
          cwd: workspace,
          // The environment is not the server's: that holds its keys.
          env: { PATH: process.env.PATH ?? "/usr/bin:/bin", AUTONOMIS_GUEST: spec.id },
          uid: null,
          fds: [],
          explain: ({ code, signal }) => (signal === null ? `exited with ${code}` : `killed by ${signal}`),
        })
        return {
          ...started,
          host: { workspace, signalCommands: (signal) => signalCommands(started.pid ?? 0, signal) },
        }
      }),
    ...running.verbs,
    [Symbol.asyncDispose]: () => running.stopAll(),
  }
}
