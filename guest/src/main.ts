import { closeSync, readdirSync, readFileSync } from "node:fs"
import { Socket } from "node:net"
import { serveGuest } from "./serve.ts"

/** `guest.mjs <fd> <workDir>`: serves over that inherited descriptor, a socket. */
const [, , channel, workDir = "/work"] = process.argv
const fd = Number(channel)
closeInherited(fd)
const stream = new Socket({ fd, readable: true, writable: true })

const marker = process.env.AUTONOMIS_GUEST
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
}

await serveGuest(stream, { workDir, baseEnv, marker: marker === undefined ? null : `AUTONOMIS_GUEST=${marker}` })
process.exit(0)

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
