import { accessSync, constants } from "node:fs"
import { userInfo } from "node:os"
import { EngineError } from "./engine.ts"
import { BUILD_COMMAND } from "./image.ts"

export const NO_IMAGE = `agents cannot run commands: the sandbox image is not there, or is of another version; make it with \`${BUILD_COMMAND}\``
export const NOT_HERE =
  "agents cannot run commands: the server does not see the processes of the Docker daemon; run it on the daemon's own machine and not in a container, or in one started with `--pid=host`"
export const OTHER_UIDS =
  "agents cannot run commands: the Docker daemon runs rootless or with userns-remap, where a workspace cannot belong to its agent; use another daemon, or `AUTONOMIS_SANDBOX=bubblewrap`"

/** One sentence with the one command to run, safe to show to a tenant. */
export function problemOf(error: unknown): string {
  if (!(error instanceof EngineError)) return "no sandbox can be opened: the server's log has more"
  switch (error.reason) {
    case "unreachable":
      return `agents cannot run commands: no Docker daemon answers; ${
        hasDaemon() ? "start it with `systemctl start docker`" : "install it with `apt-get install docker.io`"
      }`
    case "forbidden":
      return `agents cannot run commands: the server may not speak with the Docker daemon; run \`usermod -aG docker ${userInfo().username}\` and start the server anew`
    case "too old":
      return "agents cannot run commands: the Docker daemon is older than 20.10; update it with `apt-get install docker.io`"
    default:
      return `no sandbox can be opened: the Docker daemon answered ${error.reason}; the server's log has more`
  }
}

function hasDaemon(): boolean {
  return ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"].some((folder) => {
    try {
      accessSync(`${folder}/dockerd`, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
