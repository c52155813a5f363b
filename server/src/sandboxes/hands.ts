import { DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS } from "@autonomis/guest/protocol.ts"
import type { Redactor } from "../lib/redact.ts"
import { type ExecRequest, type ExecResult, type Hands, HandsError, type HandsFile } from "../runtime/hands.ts"
import type { LimitHits, SandboxSpec } from "./driver.ts"
import type { Refusals } from "./egress/journal.ts"
import type { FairGate } from "./fair-gate.ts"
import type { ExecAnswer } from "./guest-answers.ts"
import { MAX_READ_BYTES } from "./guest-client.ts"
import { createKeptOutput } from "./output.ts"
import { aborted, type OpenGuest, type Pool } from "./pool.ts"

/** What an agent's tools may know of the user's secrets, and what keeps them out of what is shown. */
export interface AgentSecrets {
  /** Set for each command, beside the sandbox's own variables. */
  env: Record<string, string>
  redactor: Redactor
}

export interface HandsOptions {
  /** Asked at each call, so that a changed secret counts from the next command on. */
  secrets(): Promise<AgentSecrets>
}

export interface HandsTools {
  pool: Pool
  /** Running commands, by user. */
  commands: FairGate
  /** The disk is nearly full: nothing is begun that may write. */
  diskIsLow(): Promise<boolean>
  /** Connections outwards that were refused so far. */
  refusals(id: string): Refusals
  /** A name for an output file; later ones sort after earlier ones. */
  nextOutputId(): string
}

/** Kept of a command's output for the model. */
const HEAD_CHARS = 6 * 1024
const TAIL_CHARS = 10 * 1024
/** Shown while it runs; whoever watches a flood is not helped by more. */
const MAX_LIVE_CHARS = 1024 * 1024
/** Of more the sandbox keeps only the file, and of more than that nothing. */
const MAX_SENT_BYTES = 64 * 1024 * 1024
const MAX_FILE_BYTES = 16 * 1024 * 1024
const OUTPUT_FOLDER = ".autonomis/output"
/** The kernel's limits are 128 KiB for one variable and 2 MiB with the command. */
const MAX_VARIABLE_BYTES = 128 * 1024 - 1
const MAX_ENVIRONMENT_BYTES = 1024 * 1024
const MAX_COMMAND_BYTES = 1024 * 1024

/** The tools' view of one agent's sandbox. All that comes out of it passes the redactor here, once. */
export function createHands(
  spec: SandboxSpec,
  { secrets }: HandsOptions,
  { pool, commands, diskIsLow, refusals, nextOutputId }: HandsTools,
): Hands {
  async function withGuest<T>(
    signal: AbortSignal,
    work: (guest: OpenGuest, redactor: Redactor) => Promise<T>,
  ): Promise<T> {
    const { redactor } = await secrets()
    try {
      return await pool.use(spec, signal, (guest) => work(guest, redactor))
    } catch (error) {
      throw error instanceof HandsError ? new HandsError(error.kind, redactor.text(error.message)) : error
    }
  }

  async function exec(
    request: ExecRequest,
    onOutput: (chunk: string) => void,
    signal: AbortSignal,
  ): Promise<ExecResult> {
    if (await diskIsLow()) throw diskLow()
    const { env } = await secrets()
    checkSizes(request, env)
    const leave = await commands.enter(spec.userId, signal).catch(() => Promise.reject(aborted()))
    try {
      return await withGuest(signal, (guest, redactor) => run(guest, redactor, request, env, onOutput, signal))
    } finally {
      leave()
    }
  }

  async function run(
    guest: OpenGuest,
    redactor: Redactor,
    request: ExecRequest,
    env: Record<string, string>,
    onOutput: (chunk: string) => void,
    signal: AbortSignal,
  ): Promise<ExecResult> {
    const startMs = performance.now()
    const before = guest.hits()
    const { count: refusedBefore } = refusals(spec.id)
    const timeoutMs = Math.min(Math.max(1, request.timeoutMs ?? DEFAULT_TIMEOUT_MS), MAX_TIMEOUT_MS)
    const path = `${OUTPUT_FOLDER}/${nextOutputId()}.log`
    const output = { path, keepBytes: HEAD_CHARS + TAIL_CHARS, fileBytes: MAX_FILE_BYTES, sendBytes: MAX_SENT_BYTES }
    const sink = createSink(redactor, onOutput)
    const answer = await guest.client
      .exec(
        { command: request.command, cwd: request.cwd ?? null, timeoutMs, env, output },
        { onOutput: sink.push, stdin: request.stdin === undefined ? null : Buffer.from(request.stdin) },
        signal,
      )
      .catch((error) => {
        // Nothing can be started there any more: the next command gets a fresh sandbox.
        if (error instanceof HandsError && error.kind === "unavailable") guest.retire()
        throw error
      })
    const { killed, notes } = inWords(answer, before, guest.hits(), spec, timeoutMs)
    if (killed === null && (await guest.isFull()))
      notes.push(`the disk is full: ${storageLimit(spec)}; delete files to go on`)
    for (const note of notes) sink.note(note)
    for (const note of refusedInWords(refusals(spec.id), refusedBefore)) sink.note(redactor.text(note))
    const kept = sink.end()
    const fullOutputPath = answer.outputFile && kept.cut ? `/work/${path}` : null
    return {
      exitCode: killed === null ? answer.exitCode : null,
      killed,
      output: kept.text(fullOutputPath),
      fullOutputPath,
      durationMs: Math.round(performance.now() - startMs),
    }
  }

  return {
    exec,
    readFile: (path, range, signal) =>
      withGuest(signal, async (guest, redactor): Promise<HandsFile> => {
        const length = Math.min(range?.length ?? MAX_READ_BYTES, MAX_READ_BYTES)
        const { data, sizeBytes } = await guest.client.read(path, range?.offset ?? 0, length, signal)
        if (range === null && sizeBytes > MAX_READ_BYTES) throw tooLarge(path)
        const masked = redactor.bytes(data)
        return { data: masked.data, sizeBytes, ...(masked.masked ? { masked: true } : {}) }
      }),
    async writeFile(path, data, signal) {
      if (await diskIsLow()) throw diskLow()
      if (data.length > MAX_READ_BYTES) throw tooLarge(path)
      return withGuest(signal, (guest) => guest.client.write(path, data, signal))
    },
    stat: (path, signal) => withGuest(signal, (guest) => guest.client.stat(path, signal)),
    list: (path, signal) =>
      withGuest(signal, async (guest, redactor) => {
        const entries = await guest.client.list(path, signal)
        return entries.map((entry) => ({ ...entry, name: redactor.text(entry.name) }))
      }),
    mkdir: (path, signal) => withGuest(signal, (guest) => guest.client.change({ op: "mkdir", path }, signal)),
    remove: (path, recursive, signal) =>
      withGuest(signal, (guest) => guest.client.change({ op: "remove", path, recursive }, signal)),
    rename: (from, to, signal) => withGuest(signal, (guest) => guest.client.change({ op: "rename", from, to }, signal)),
  }
}

export const DISK_LOW = "the server's disk is nearly full: commands and new files must wait until there is room"
const diskLow = () => new HandsError("unavailable", DISK_LOW)

const inUnits = (bytes: number) =>
  bytes >= 1024 ** 3 ? `${Number((bytes / 1024 ** 3).toFixed(2))} GiB` : `${Number((bytes / 1024 ** 2).toFixed(1))} MiB`

const tooLarge = (path: string) =>
  new HandsError("too_large", `${path}: is larger than ${MAX_READ_BYTES / 1024 / 1024} MiB`)

function checkSizes(request: ExecRequest, env: Record<string, string>): void {
  if (Buffer.byteLength(request.command) > MAX_COMMAND_BYTES)
    throw new HandsError("invalid", "the command is longer than 1 MiB")
  if (request.command.includes("\0")) throw new HandsError("invalid", "a command cannot hold a NUL")
  let total = 0
  for (const [name, value] of Object.entries(env)) {
    const size = Buffer.byteLength(name) + Buffer.byteLength(value) + 2
    if (size > MAX_VARIABLE_BYTES)
      throw new HandsError("invalid", `the secret ${name} is too long for an environment variable`)
    total += size
  }
  if (total > MAX_ENVIRONMENT_BYTES) {
    throw new HandsError(
      "invalid",
      "the secrets of this agent are together larger than 1 MiB, too much for a command's environment; give it fewer",
    )
  }
}

function createSink(redactor: Redactor, onOutput: (chunk: string) => void) {
  const decoder = new TextDecoder()
  const redact = redactor.stream()
  const kept = createKeptOutput(HEAD_CHARS, TAIL_CHARS)
  let live = 0
  const show = (text: string) => {
    if (text === "") return
    kept.add(text)
    if (live > MAX_LIVE_CHARS) return
    live += text.length
    onOutput(live > MAX_LIVE_CHARS ? "\n[further output is not shown while the command runs]\n" : text)
  }
  const notes: string[] = []
  return {
    push: (chunk: Buffer) => show(redact.push(decoder.decode(chunk, { stream: true }))),
    note: (text: string) => notes.push(`\n[${text}]\n`),
    end() {
      show(redact.push(decoder.decode()) + redact.end())
      for (const note of notes) show(note)
      return kept
    },
  }
}

/** What a command's own words often hide: why its connections were refused. */
function refusedInWords({ count, last }: Refusals, before: number): string[] {
  const news = count - before
  if (news <= 0) return []
  const told = [...new Set(last.slice(-news))].map((one) => `network: refused ${one}`)
  return news > last.length ? [`network: ${news} connections were refused, the last of them:`, ...told] : told
}

type Hits = LimitHits & { storage: number }

const storageLimit = ({ limits }: SandboxSpec) =>
  limits.storageBytes === null ? "storage limit" : `storage limit ${inUnits(limits.storageBytes)}`

function inWords(answer: ExecAnswer, before: Hits, after: Hits, spec: SandboxSpec, timeoutMs: number) {
  const { limits } = spec
  const notes: string[] = []
  const memory = `memory limit ${Number((limits.memoryBytes / 1024 ** 3).toFixed(2))} GiB`
  let killed: string | null = null
  const storage = storageLimit(spec)
  if (after.storage > before.storage) killed = `killed: ${storage}; delete files to go on`
  else if (answer.signal === "SIGXFSZ" || answer.exitCode === 153) killed = `killed: a file passed the ${storage}`
  else if (answer.timedOut) killed = `killed: time limit ${Number((timeoutMs / 1000).toFixed(3))} s`
  else if (after.memory > before.memory) {
    if (answer.signal === "SIGKILL" || answer.exitCode === 137) killed = `killed: ${memory}`
    else notes.push(`a process was killed: ${memory}`)
  } else if (answer.signal !== null) killed = `killed by ${answer.signal}`
  if (after.pids > before.pids) notes.push(`processes were refused: process limit ${limits.pids}`)
  return { killed, notes }
}
