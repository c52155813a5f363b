import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process"
import { closeSync, mkdirSync, openSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs"
import { dirname } from "node:path"
import type { Readable } from "node:stream"
import { CallError, codeOf, failureOf } from "./failure.ts"
import { keepNewest, resolvePath } from "./files.ts"
import type { OutputPipe, Pipes } from "./pipes.ts"
import { killCommand } from "./processes.ts"
import type { ExecCall, ExecOutcome } from "./protocol.ts"

/** The kernel takes at most 128 KiB in one argument; a longer command goes through a file. */
const MAX_ARGUMENT_BYTES = 120_000
const KEPT_OUTPUT_FILES = 20
/** How long output may be silent after a command's end while something in the background still holds its pipe. */
const QUIET_MS = 20

/**
 * Beyond the first of them output is read no faster: a command that floods then waits for its pipe, where otherwise it and
 * this program would keep the processors busy, to the cost of everyone else, with what nobody will read.
 */
const OUTPUT_BURST_BYTES = 16 * 1024 * 1024
const OUTPUT_BYTES_PER_SECOND = 16 * 1024 * 1024

/**
 * On the command's own first line, so that line numbers in its errors are right. One pipe for both kinds of output keeps
 * their order; and when memory runs out the kernel takes commands before the program that runs them.
 */
const PRELUDE = "exec 2>&1; { echo 500 > /proc/self/oom_score_adj; } 2> /dev/null;"

export interface RunningCommand {
  /** Kills the command's whole process group. */
  kill(): void
  /** Standard input, when the call has one; false when the pipe is gone. */
  input(data: Uint8Array): Promise<void>
  endInput(): void
  readonly outcome: Promise<ExecOutcome>
}

export interface ExecSettings {
  workDir: string
  baseEnv: Record<string, string>
  pipes: Pipes
}

export function startCommand(
  call: ExecCall,
  settings: ExecSettings,
  send: (data: Uint8Array) => Promise<boolean>,
): RunningCommand {
  const cwd = resolvePath(call.cwd ?? settings.workDir, settings.workDir)
  if (statSync(cwd, { throwIfNoEntry: false }) === undefined) throw new CallError("not_found", `${cwd}: no such folder`)
  if (!statSync(cwd).isDirectory()) throw new CallError("not_directory", `${cwd}: is not a folder`)
  const pipe = settings.pipes.take()
  const script = Buffer.byteLength(call.command) > MAX_ARGUMENT_BYTES ? scriptFile(call.command) : null
  const child = startBash(
    script === null ? ["-c", `${PRELUDE} ${call.command}`] : ["-c", `${PRELUDE} . "$0"`, script],
    {
      cwd,
      env: { ...settings.baseEnv, ...call.env },
      detached: true,
      stdio: [call.stdin ? "pipe" : "ignore", pipe?.write ?? "pipe", pipe?.write ?? "pipe"],
    },
    pipe,
  )
  const output = createOutput(call, settings.workDir, send)
  let timedOut = false
  let timer: NodeJS.Timeout | undefined
  const kill = () => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) killCommand(child.pid)
  }

  const outcome = new Promise<ExecOutcome>((resolve, reject) => {
    child.once("error", (error) => {
      if (child.pid === undefined) reject(new CallError(...startFailure(error)))
    })
    child.once("exit", (exitCode, signal) => {
      clearTimeout(timer)
      void output.settle(pumps).then((done) => resolve({ exitCode, signal, timedOut, ...done }), reject)
    })
    timer = setTimeout(() => {
      timedOut = true
      kill()
    }, call.timeoutMs)
    const pumps = Promise.all([pipe?.read ?? child.stdout, child.stderr].map((stream) => stream && output.pump(stream)))
  }).finally(() => {
    clearTimeout(timer)
    if (script !== null) rmSync(script, { force: true })
  })

  // A command need not read its input.
  child.stdin?.on("error", () => {})
  return {
    kill,
    outcome,
    input: (data) =>
      new Promise((resolve) => {
        if (child.stdin === null || !child.stdin.writable) resolve()
        else child.stdin.write(data, () => resolve())
      }),
    endInput: () => child.stdin?.end(),
  }
}

function startBash(args: string[], options: SpawnOptions, pipe: OutputPipe | null): ChildProcess {
  try {
    return spawn("/bin/bash", args, options)
  } catch (error) {
    pipe?.read.destroy()
    throw error
  } finally {
    if (pipe !== null) closeSync(pipe.write)
  }
}

function startFailure(error: unknown): ["unavailable" | "invalid", string] {
  const failure = failureOf(error, "the command could not be started")
  return [codeOf(error) === "EAGAIN" || codeOf(error) === "ENOMEM" ? "unavailable" : "invalid", failure.message]
}

let scripts = 0

function scriptFile(command: string): string {
  const path = `/tmp/.autonomis-command-${process.pid}-${scripts++}`
  writeFileSync(path, command, { mode: 0o600, flag: "wx" })
  return path
}

function createOutput(call: ExecCall, workDir: string, send: (data: Uint8Array) => Promise<boolean>) {
  const { keepBytes, fileBytes, sendBytes } = call.output
  const path = resolvePath(call.output.path, workDir)
  let total = 0
  let written = 0
  let early: Buffer[] = []
  let file: number | null = null
  let over = false
  let lastMs = 0
  let sending = 0
  const pace = createPace()

  /** Nobody needs a file for a short output; a longer one is in it from its first byte on. */
  function keep(chunk: Buffer): void {
    if (file === null) early.push(chunk)
    if (file === null && total > keepBytes) {
      file = openOutput(path)
      for (const part of early) append(part)
      early = []
    } else if (file !== null) append(chunk)
  }

  function append(chunk: Buffer): void {
    if (file === null || file < 0) return
    const part = chunk.subarray(0, Math.max(0, fileBytes - written))
    try {
      written += writeSync(file, part)
    } catch {
      // A full disk must not end the command.
      closeSync(file)
      file = -1
    }
  }

  return {
    async pump(stream: Readable): Promise<void> {
      // After the call's end this goes on without keeping anything, so that what runs in the background never blocks.
      for await (const chunk of stream) {
        if (!Buffer.isBuffer(chunk)) continue
        const waitMs = pace(chunk.length)
        if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs))
        if (over) continue
        lastMs = performance.now()
        keepAndCount(chunk)
        const room = sendBytes - (total - chunk.length)
        if (room <= 0) continue
        sending++
        await send(chunk.subarray(0, room))
        sending--
      }
    },
    async settle(pumps: Promise<unknown>): Promise<Pick<ExecOutcome, "outputBytes" | "outputFile">> {
      let drained = false
      void pumps.then(
        () => {
          drained = true
        },
        () => {
          drained = true
        },
      )
      await Promise.race([pumps.catch(() => {}), quiet()])
      async function quiet(): Promise<void> {
        lastMs = performance.now()
        while (!drained && (sending > 0 || performance.now() - lastMs < QUIET_MS)) {
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      }
      over = true
      const outputFile = file !== null && file >= 0
      if (file !== null && file >= 0) {
        closeSync(file)
        file = -1
        await keepNewest(dirname(path), KEPT_OUTPUT_FILES).catch(() => {})
      }
      return { outputBytes: total, outputFile }
    },
  }

  function keepAndCount(chunk: Buffer): void {
    total += chunk.length
    keep(chunk)
  }
}

/** Gives how long to wait before so many bytes more are taken, in milliseconds. */
function createPace(): (bytes: number) => number {
  let left = OUTPUT_BURST_BYTES
  let lastMs = performance.now()
  return (bytes) => {
    const nowMs = performance.now()
    left = Math.min(OUTPUT_BURST_BYTES, left + ((nowMs - lastMs) / 1000) * OUTPUT_BYTES_PER_SECOND) - bytes
    lastMs = nowMs
    return left >= 0 ? 0 : (-left / OUTPUT_BYTES_PER_SECOND) * 1000
  }
}

function openOutput(path: string): number {
  try {
    mkdirSync(dirname(path), { recursive: true })
    return openSync(path, "wx", 0o644)
  } catch {
    return -1
  }
}
