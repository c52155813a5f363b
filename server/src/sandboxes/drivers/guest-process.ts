import { type ChildProcess, spawn } from "node:child_process"
import { Duplex, type Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import type { RunningGuest } from "./running.ts"

/** The bundled program that runs inside; made by `npm ci`. */
export const GUEST_FILE = fileURLToPath(import.meta.resolve("@autonomis/guest/dist/guest.mjs"))

/** Keeps a guest small: few threads, a small young generation. */
export const NODE_FLAGS = ["--max-old-space-size=128", "--max-semi-space-size=1", "--v8-pool-size=1", "--no-warnings"]

/** The descriptor over which the guest speaks; a socket, both ways. */
export const CHANNEL_FD = 3

export interface GuestProcessOptions {
  command: string
  args: string[]
  cwd: string
  env: Record<string, string>
  uid: number | null
  /** Further descriptors, from 4 on. */
  fds: number[]
  /** Called once with the process's end: why, in words. */
  explain: (end: { code: number | null; signal: NodeJS.Signals | null; stderr: string }) => string
}

export interface GuestProcess extends RunningGuest {
  readonly pid: number | undefined
}

const MAX_STDERR = 4_096
/** Whoever writes more is no starting sandbox: it is left unread, and costs nobody anything. */
const MAX_STDERR_READ = 64 * 1024
const GRACE_MS = 1_000

/** Starts a process whose descriptor 3 speaks the guest protocol. */
export function startGuestProcess(options: GuestProcessOptions): GuestProcess {
  const child = spawn(options.command, options.args, {
    cwd: options.cwd,
    env: options.env,
    stdio: ["ignore", "ignore", "pipe", "pipe", ...options.fds],
    // An own group: a signal to the server's group (^C in a terminal) is the server's to handle.
    detached: true,
    ...(options.uid === null ? {} : { uid: options.uid, gid: options.uid }),
  })
  const channel = child.stdio[CHANNEL_FD]
  if (!(channel instanceof Duplex)) throw new Error("the guest has no channel")
  const stderr = tailOf(child.stderr)
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(options.explain({ code: null, signal: null, stderr: error.message })))
    child.once("exit", (code, signal) => resolve(options.explain({ code, signal, stderr: stderr() })))
  })
  void ended.then(() => channel.destroy())
  // A dead guest is seen as the end of its stream, not as an error of the server.
  channel.on("error", () => {})
  return { pid: child.pid, stream: channel, ended, stop: () => stopChild(child, channel, ended) }
}

async function stopChild(child: ChildProcess, channel: Duplex, ended: Promise<unknown>): Promise<void> {
  channel.destroy()
  const force = setTimeout(() => child.kill("SIGKILL"), GRACE_MS)
  await ended
  clearTimeout(force)
}

/** The last of what a starting sandbox complains about; bounded, since later it is the tenant's to write. */
function tailOf(stream: Readable | null): () => string {
  let tail = ""
  let read = 0
  stream?.setEncoding("utf8")
  stream?.on("data", (chunk: string) => {
    tail = (tail + chunk).slice(-MAX_STDERR)
    read += chunk.length
    if (read > MAX_STDERR_READ) stream.pause()
  })
  return () => tail.replace(/[^\x20-\x7e\n]/g, "?").trim()
}
