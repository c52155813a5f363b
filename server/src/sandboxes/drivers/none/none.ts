import type { Logger } from "../../../lib/log.ts"
import type { SandboxDriver } from "../../driver.ts"
import { CHANNEL_FD, GUEST_FILE, type GuestProcess, NODE_FLAGS, startGuestProcess } from "../guest-process.ts"
import { signalCommands } from "../process-tree.ts"
import { createWorkspaces } from "../workspace.ts"

/** No sandbox at all: commands run as the server's own user and see what it sees. For development only. */
export function createNoneDriver({ dataDir, log }: { dataDir: string; log: Logger }): SandboxDriver {
  const workspaces = createWorkspaces({ dataDir, ownUids: false })
  const running = new Map<string, GuestProcess>()
  let warned = false

  const driver: SandboxDriver = {
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
    async open(spec) {
      const open = running.get(spec.id)
      if (open !== undefined) return open
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
      const guest = {
        ...started,
        host: { workspace, signalCommands: (signal: NodeJS.Signals) => signalCommands(started.pid ?? 0, signal) },
      }
      running.set(spec.id, guest)
      void guest.ended.then(() => {
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
