import { spawn } from "node:child_process"
import { closeSync, constants, mkdtempSync, openSync, rmSync, unlinkSync } from "node:fs"
import { Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Readable } from "node:stream"

export interface OutputPipe {
  read: Readable
  write: number
}

/**
 * Real pipes for the output of commands. Node itself gives its children sockets, and a program cannot open those by name
 * (`/dev/stderr`). Made a few ahead by one `mkfifo`; each name is gone as soon as its pipe is in use.
 */
export interface Pipes {
  /** When the first ones are made. */
  readonly ready: Promise<void>
  /** Null when none is ready; the caller closes `write` once it has passed it on. */
  take(): OutputPipe | null
  close(): void
}

const AHEAD = 16

export function preparePipes(): Pipes {
  const folder = mkdtempSync(join(tmpdir(), ".autonomis-"))
  const names: string[] = []
  let made = 0
  let making = false

  function make(): Promise<void> {
    making = true
    const paths = Array.from({ length: AHEAD }, () => join(folder, String(made++)))
    return new Promise((resolve) => {
      const done = (success: boolean) => {
        making = false
        if (success) names.push(...paths)
        resolve()
      }
      const child = spawn("mkfifo", ["-m", "600", ...paths], { stdio: "ignore" })
      child.once("error", () => done(false))
      child.once("exit", (code) => done(code === 0))
    })
  }

  return {
    ready: make(),
    take() {
      const name = names.shift()
      if (names.length < AHEAD / 2 && !making) void make()
      return name === undefined ? null : open(name)
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  }
}

function open(path: string): OutputPipe | null {
  const fds: number[] = []
  try {
    // The reader first, without waiting for a writer; then the writer finds it and does not wait either.
    fds.push(openSync(path, constants.O_RDONLY | constants.O_NONBLOCK))
    fds.push(openSync(path, constants.O_WRONLY))
    unlinkSync(path)
    const [read = -1, write = -1] = fds
    return { read: new Socket({ fd: read, readable: true, writable: false }), write }
  } catch {
    for (const fd of fds) closeSync(fd)
    return null
  }
}
