import { spawn } from "node:child_process"
import { once } from "node:events"
import { constants } from "node:fs"
import { access, lstat } from "node:fs/promises"
import { dirname, sep } from "node:path"
import type { MountPlace } from "../disk-images.ts"

/** How bubblewrap, with its uid dropped, gets to see the few folders of the host that it shows inside. */
export interface HostView {
  /** The path under which bubblewrap finds what is at `path` on the host. */
  see(path: string): string
  /** Wraps a command so that it runs with that uid (null: ours) and this view. */
  enter(command: string[], uid: number | null): { command: string; args: string[]; uid: number | null }
  /** Resolves when the view is gone: somebody ended its helper. */
  readonly ended: Promise<unknown>
  /** Where file systems for sandboxes can be mounted; null unless asked for. */
  readonly place: MountPlace | null
  [Symbol.asyncDispose](): Promise<void>
}

export interface HostViewOptions {
  /** Folders and files that must be seen; each is absolute. */
  needed: string[]
  /** Whether each sandbox has a uid of its own, which needs root. */
  ownUids: boolean
  /** File systems shall be mounted there, where this process may mount any. */
  mounts?: boolean
}

/** Where the needed ones are shown; in a mount namespace of our own, so nothing of the host's is hidden. */
const SHOWN = "/run"
const DISKS = `${SHOWN}/disks`

/**
 * Without root, and where every user may pass the folders above, the host's own paths do. Otherwise (a data folder below
 * `/root`, say) a helper holds a private mount namespace that shows the needed ones elsewhere; it ends with this process.
 */
export async function openHostView({ needed, ownUids, mounts = false }: HostViewOptions): Promise<HostView> {
  const host = {
    see: (path: string) => path,
    enter: direct,
    ended: new Promise(() => {}),
    place: null,
    async [Symbol.asyncDispose]() {},
  }
  if (!ownUids) return host
  const passable = (await Promise.all(needed.map(everyoneMayPass))).every(Boolean)
  if (!passable) return openPrivateView(needed)
  return mounts ? openPrivateView(needed).catch(() => host) : host
}

function direct([command = "", ...args]: string[], uid: number | null) {
  return { command, args, uid }
}

async function everyoneMayPass(path: string): Promise<boolean> {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const found = await lstat(folder)
    if (!found.isDirectory() || (found.mode & 0o001) === 0) return false
    if (folder === dirname(folder)) return true
  }
}

async function openPrivateView(needed: string[]): Promise<HostView> {
  const script = [
    `mount -t tmpfs -o mode=0755,size=1m autonomis ${SHOWN} && mkdir -m 0755 ${DISKS}`,
    ...needed.map(
      (_, i) =>
        `{ if [ -d "$${i + 1}" ]; then mkdir ${SHOWN}/${i}; else : > ${SHOWN}/${i}; fi; mount --rbind -- "$${i + 1}" ${SHOWN}/${i}; }`,
    ),
    "echo ready",
    // Ends when the server does, however that ends: its standard input closes.
    "exec cat > /dev/null",
  ].join(" && ")
  const holder = spawn(
    "unshare",
    ["--mount", "--propagation", "slave", "/bin/sh", "-c", script, "sandbox-view", ...needed],
    {
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
      cwd: "/",
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    },
  )
  let complaint = ""
  holder.stderr.on("data", (chunk: Buffer) => {
    complaint = (complaint + chunk).slice(-500)
  })
  const ended = once(holder, "close")
  const ready = await Promise.race([once(holder.stdout, "data").then(() => true), ended.then(() => false)])
  if (!ready || holder.pid === undefined)
    throw new Error(
      `the data folder lies where only root may pass, and showing it elsewhere failed (${complaint.trim()}); move it with AUTONOMIS_DATA_DIR to where every user may pass the folders above, or allow mounts`,
    )
  const namespace = `/proc/${holder.pid}/ns/mnt`
  await access(namespace, constants.R_OK)
  return {
    ended,
    place: {
      enter: (command) => ["nsenter", `--mount=${namespace}`, "--", ...command],
      folder: `/proc/${holder.pid}/root${DISKS}`,
      inside: DISKS,
      ended,
    },
    see(path) {
      if (path.startsWith(DISKS + sep)) return path
      const i = needed.findIndex((one) => path === one || path.startsWith(one + sep))
      return i < 0 ? path : `${SHOWN}/${i}${path.slice(needed[i]?.length)}`
    },
    enter: (command, uid) => ({
      command: "nsenter",
      // Drops the uid itself, with the supplementary groups, before anything else runs.
      args: [`--mount=${namespace}`, ...(uid === null ? [] : [`--setuid=${uid}`, `--setgid=${uid}`]), "--", ...command],
      uid: null,
    }),
    async [Symbol.asyncDispose]() {
      holder.stdin.end()
      await ended
    },
  }
}
