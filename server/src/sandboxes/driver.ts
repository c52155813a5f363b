import type { Duplex, Readable } from "node:stream"

/** An agent's opaque id; names never reach a driver. */
export type SandboxId = string

/** What one sandbox is given. All limits are those of the user's plan. */
export interface SandboxSpec {
  id: SandboxId
  /** The owner's opaque id: for fairness and for folders. */
  userId: string
  /** A host uid that no other agent has; the driver drops to it before anything of the tenant's runs. */
  hostUid: number
  limits: { memoryBytes: number; cpus: number; pids: number; storageBytes: number | null }
  network: "none" | "egress"
  /** Folders shown read-only inside, e.g. the user's skills: `source` on the host, `target` inside. */
  readOnlyMounts: { source: string; target: string }[]
}

export interface EgressPolicy {
  /** Domains (with all below them) that may be reached; null: all that are not denied. */
  allow: string[] | null
  deny: string[]
}

/** A running guest: a duplex stream that speaks the guest protocol, and the end of it. */
export interface GuestStream {
  readonly stream: Duplex
  /** Resolves when the sandbox has ended, with why in words (`exited with 0`, `killed: memory limit 1.5 GiB`). Never rejects. */
  readonly ended: Promise<string>
  /** How often the sandbox ran into its limits since it opened, where the kernel counts that. */
  readonly hits?: () => LimitHits
  /** Where its files and its processes can be got at from the host. */
  readonly host?: {
    workspace: string
    /** A file system that holds all workspaces of its user, and whose size is their limit; else they lie on the host's. */
    disk?: string | null
    signalCommands(signal: NodeJS.Signals): void
  }
}

export interface LimitHits {
  /** Processes killed because memory was short. */
  memory: number
  /** Processes refused because there were too many. */
  pids: number
}

export interface SandboxState {
  id: SandboxId
  running: boolean
}

/** What a driver holds, as it found by trying; printed at start and shown by `GET /status`. */
export interface DriverReport {
  driver: string
  /** False: not sandboxed at all (driver `none`) or unusable (then `problem` says why and what to do). */
  usable: boolean
  /** E.g. `namespaces`, `seccomp`, `no new privileges`, `read-only system`, `memory limit`. */
  holds: string[]
  /** One sentence with the cure, safe to show to a tenant; null when usable. */
  problem: string | null
  /** The programs that commands find, where they are not the host's. */
  programs?: ReadonlySet<string>
}

export interface DriverCapabilities {
  memoryLimit: boolean
  networkPolicy: boolean
  diskQuota: boolean
  /** The host sees the workspace: a file request needs no guest. */
  hostFiles: boolean
}

/**
 * A few idempotent verbs; each driver passes the one suite in `driver-contract.ts`.
 * Errors: an `AppError("sandbox_unavailable")` with the cure when no sandbox can be had.
 */
export interface SandboxDriver extends AsyncDisposable {
  readonly name: string
  readonly capabilities: DriverCapabilities
  /** Tries the sandbox for real, once per process; later calls give the same report unless `again`. */
  selfTest(signal: AbortSignal, again?: boolean): Promise<DriverReport>
  /** Starts the sandbox if it is not there; idempotent. The stream speaks the guest protocol. */
  open(spec: SandboxSpec, signal: AbortSignal): Promise<GuestStream>
  /** Ends the sandbox and all its processes; the files stay. Idempotent. */
  stop(id: SandboxId, signal: AbortSignal): Promise<void>
  /** Ends the sandbox and removes its files. Idempotent. */
  destroy(spec: Pick<SandboxSpec, "id" | "userId" | "hostUid">, signal: AbortSignal): Promise<void>
  /** Lets go of a user's folder, which is to be moved or removed; the user's sandboxes have ended. */
  leaveUser?(userId: string): Promise<void>
  /** What is there, also from an earlier server that crashed. */
  list(signal: AbortSignal): Promise<SandboxState[]>
  /** The workspace's files, without opening a guest where the host can see them. */
  files(spec: Pick<SandboxSpec, "id" | "userId" | "hostUid">): WorkspaceFiles
}

export interface FileEntry {
  name: string
  type: "file" | "directory" | "symlink" | "other"
  sizeBytes: number
  modifiedMs: number
}

export interface FileStat extends FileEntry {
  /** Changes with every write. */
  etag: string
}

/**
 * Files of one workspace for the API. Paths are relative, `/`-separated, without `.`, `..`, empty parts or NUL
 * (already checked at the edge, and checked again here); the root is `""`.
 * Errors: `not_found`; `invalid_request` for a link that leaves the workspace, a fifo, a socket or a device;
 * `conflict` for a folder where a file is wanted or one that is not empty; `too_large`; `precondition_failed`.
 */
export interface WorkspaceFiles {
  stat(path: string, signal: AbortSignal): Promise<FileStat>
  /** At most `limit` entries in name order, those after `after` (a name) if given. */
  list(path: string, options: { limit: number; after?: string }, signal: AbortSignal): Promise<FileEntry[]>
  /** A byte range of a regular file (`end` is exclusive); `stat` is of the very file that is read. */
  read(
    path: string,
    range: { start: number; end: number } | null,
    signal: AbortSignal,
  ): Promise<{ stat: FileStat; body: Readable }>
  /** Atomic: a temporary file, then rename. Makes missing folders. `created` tells a new file from a replaced one. */
  write(
    path: string,
    body: Readable | Uint8Array,
    options: { maxBytes: number; ifMatch?: string; ifNoneMatch?: boolean },
    signal: AbortSignal,
  ): Promise<{ stat: FileStat; created: boolean }>
  /** A link goes itself; `ifMatch` is the tag of what it leads to, as `stat` gives it. */
  remove(path: string, options: { recursive: boolean; ifMatch?: string }, signal: AbortSignal): Promise<void>
  /** Bytes and entries in the workspace now. */
  usage(signal: AbortSignal): Promise<{ bytes: number; entries: number }>
}
