/**
 * What the brain may do with its hands. The runtime knows this interface and nothing of sandboxes: in a worker each
 * call is a message to the main thread, which knows the run's agent and its sandbox. Paths are absolute inside the
 * sandbox (`/work/…`) or relative to `/work`.
 */
export interface Hands {
  exec(request: ExecRequest, onOutput: (chunk: string) => void, signal: AbortSignal): Promise<ExecResult>
  readFile(path: string, range: { offset: number; length: number } | null, signal: AbortSignal): Promise<HandsFile>
  /** Atomic; makes missing folders. */
  writeFile(path: string, data: Uint8Array, signal: AbortSignal): Promise<void>
  stat(path: string, signal: AbortSignal): Promise<HandsStat>
  list(path: string, signal: AbortSignal): Promise<(HandsStat & { name: string })[]>
  mkdir(path: string, signal: AbortSignal): Promise<void>
  remove(path: string, recursive: boolean, signal: AbortSignal): Promise<void>
  rename(from: string, to: string, signal: AbortSignal): Promise<void>
}

export interface ExecRequest {
  command: string
  /** Folder inside the sandbox; `/work` unless told. */
  cwd?: string
  /** 120,000 unless told, 600,000 at most. */
  timeoutMs?: number
  stdin?: string
}

export interface ExecResult {
  /** Null when the command was killed. */
  exitCode: number | null
  /** Why it was killed, in words for the model (`killed: time limit 120 s`, `killed: memory limit 1.5 GiB`); else null. */
  killed: string | null
  /** stdout and stderr as they came, head and tail kept when long; secrets are masked already. */
  output: string
  /** Where the whole output is, when `output` is not all of it. */
  fullOutputPath: string | null
  durationMs: number
}

export interface HandsFile {
  /** Masked for text; `sizeBytes` is the whole file's. */
  data: Uint8Array
  sizeBytes: number
  /** Secrets were masked in `data`: writing it back would destroy them. */
  masked?: boolean
}

export interface HandsStat {
  type: "file" | "directory" | "symlink" | "other"
  sizeBytes: number
  modifiedMs: number
}

/** A failure the model is told about in its own words; never a 5xx. Crosses the border as `{kind, message}`. */
export class HandsError extends Error {
  override readonly name = "HandsError"
  readonly kind: HandsErrorKind
  constructor(kind: HandsErrorKind, message: string) {
    super(message)
    this.kind = kind
  }
}

export type HandsErrorKind =
  | "not_found"
  | "is_directory"
  | "not_directory"
  | "permission_denied"
  | "too_large"
  | "invalid"
  | "aborted"
  | "timeout"
  | "unavailable"
