import { closeSync, readdirSync, readFileSync } from "node:fs"
import { Socket } from "node:net"
import { connections } from "./connections.ts"
import { PROXY_PORT } from "./protocol.ts"
import { serveGuest } from "./serve.ts"

/**
 * `guest.mjs <channel> <workDir> [proxy]`: serves over that inherited descriptor, a socket; or over the unix socket at
 * that path, where the server listens, and once more whenever a server that died has come back.
 */
const [, , channel = "", workDir = "/work", network] = process.argv
const fd = Number(channel)
closeInherited(fd)

const marker = process.env.AUTONOMIS_GUEST
const proxy = network === "proxy"
const baseEnv: Record<string, string> = {
  PATH: process.env.PATH ?? "/usr/local/bin:/usr/bin:/bin",
  HOME: workDir,
  USER: "agent",
  LOGNAME: "agent",
  SHELL: "/bin/bash",
  LANG: "C.UTF-8",
  TERM: "dumb",
  TMPDIR: "/tmp",
  ...(marker === undefined ? {} : { AUTONOMIS_GUEST: marker }),
  ...(proxy ? proxyVariables() : {}),
}

const settings = { workDir, baseEnv, marker: marker === undefined ? null : `AUTONOMIS_GUEST=${marker}`, proxy }
if (Number.isInteger(fd)) await serveGuest(new Socket({ fd, readable: true, writable: true }), settings)
else for await (const stream of connections(channel)) await serveGuest(stream, settings)
process.exit(0)

/** What curl, git, npm, pip and Node's fetch look at. */
function proxyVariables(): Record<string, string> {
  const url = `http://127.0.0.1:${PROXY_PORT}`
  const none = "localhost,127.0.0.1,::1"
  return {
    HTTP_PROXY: url,
    HTTPS_PROXY: url,
    http_proxy: url,
    https_proxy: url,
    NO_PROXY: none,
    no_proxy: none,
    NODE_USE_ENV_PROXY: "1",
  }
}

/** Descriptors that came from outside without close-on-exec would pass on to every command. */
function closeInherited(keep: number): void {
  for (const name of readdirSync("/proc/self/fd")) {
    const number = Number(name)
    if (number <= 2 || number === keep) continue
    try {
      const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${name}`, "latin1"))?.[1] ?? ""
      if ((Number.parseInt(flags, 8) & 0o2000000) === 0) closeSync(number)
    } catch {
      // The one the listing itself used.
    }
  }
}
