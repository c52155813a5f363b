/**
 * The protocol between the server and the program inside a sandbox, over one stream of bytes.
 *
 * A frame is `u32 length · u8 type · u32 channel · payload`, big endian; `length` counts the payload. The guest speaks
 * first with HELLO. The server opens odd channels with CALL, the guest even ones with OPEN; a channel ends with the
 * RESULT or FAIL of the side that was called. DATA may flow both ways in between, END says that a direction is done.
 * A sender may have WINDOW_BYTES of DATA under way in a channel; the receiver grants more with WINDOW as it consumes.
 */
export const PROTOCOL_VERSION = 1

export const Frame = {
  /** guest → server: JSON Hello. */
  HELLO: 1,
  /** server → guest: JSON Call. */
  CALL: 2,
  DATA: 3,
  END: 4,
  /** JSON, ends the channel. */
  RESULT: 5,
  /** JSON Failure, ends the channel. */
  FAIL: 6,
  /** The caller wants no more; the other side answers with RESULT or FAIL soon. */
  CANCEL: 7,
  /** u32: so many more bytes of DATA may be sent. */
  WINDOW: 8,
  PING: 9,
  PONG: 10,
  /** guest → server: a connection to the proxy; END by both closes it, CANCEL by the guest and FAIL by the server at once. */
  OPEN: 11,
} as const

export type FrameType = (typeof Frame)[keyof typeof Frame]

export const HEADER_BYTES = 9
/** The most that one DATA frame carries. */
export const CHUNK_BYTES = 32 * 1024
/** What a guest may send in one frame; the server ends a guest that announces more. */
export const MAX_GUEST_PAYLOAD = 64 * 1024
/** What the server may send in one frame: a command with its environment. */
export const MAX_SERVER_PAYLOAD = 4 * 1024 * 1024
export const WINDOW_BYTES = 256 * 1024

/** A folder with more entries is listed up to here. */
export const MAX_LIST_ENTRIES = 10_000
export const DEFAULT_TIMEOUT_MS = 120_000
export const MAX_TIMEOUT_MS = 600_000

export interface Hello {
  protocol: number
  pid: number
}

export interface ExecCall {
  op: "exec"
  command: string
  cwd: string | null
  timeoutMs: number
  /** Added to the guest's own few variables. */
  env: Record<string, string>
  /** DATA and END from the server are the command's standard input; otherwise it is empty. */
  stdin: boolean
  /** Gets the whole output once that has passed `keepBytes`; up to `fileBytes`. */
  output: { path: string; keepBytes: number; fileBytes: number; sendBytes: number }
}

export type Call =
  | ExecCall
  | { op: "read"; path: string; offset: number; length: number }
  | { op: "write"; path: string }
  | { op: "stat"; path: string }
  | { op: "list"; path: string }
  | { op: "mkdir"; path: string }
  | { op: "remove"; path: string; recursive: boolean }
  | { op: "rename"; from: string; to: string }

export interface ExecOutcome {
  /** Null when a signal ended it. */
  exitCode: number | null
  signal: string | null
  timedOut: boolean
  outputBytes: number
  /** The whole output, or its first `fileBytes`, is in the file. */
  outputFile: boolean
}

export interface StatResult {
  type: "file" | "directory" | "symlink" | "other"
  sizeBytes: number
  modifiedMs: number
}

export type ListResult = (StatResult & { name: string })[]

export type FailureKind =
  | "not_found"
  | "is_directory"
  | "not_directory"
  | "permission_denied"
  | "too_large"
  | "invalid"
  | "aborted"
  | "timeout"
  | "unavailable"

export interface Failure {
  kind: FailureKind
  message: string
}

/** Where the guest's forwarder listens; the proxy itself is in the server. */
export const PROXY_PORT = 3128
