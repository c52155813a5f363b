import { totalmem } from "node:os"
import { AppError } from "../lib/errors.ts"
import { newId } from "../lib/ids.ts"
import type { Logger } from "../lib/log.ts"
import type { Hands } from "../runtime/hands.ts"
import { type DiskReserve, watchDisk } from "./disk-watch.ts"
import type { DriverReport, SandboxDriver, SandboxSpec, WorkspaceFiles } from "./driver.ts"
import { bubblewrapInstalled, createBubblewrapDriver } from "./drivers/bubblewrap/bubblewrap.ts"
import { createDockerDriver } from "./drivers/docker/docker.ts"
import { createFakeDriver } from "./drivers/fake/fake.ts"
import { createNoneDriver } from "./drivers/none/none.ts"
import { createEgress, type EgressOptions } from "./egress/egress.ts"
import type { EgressCounts } from "./egress/journal.ts"
import { createFairGate } from "./fair-gate.ts"
import { createHands, DISK_LOW, type HandsOptions } from "./hands.ts"
import { createPool } from "./pool.ts"
import { removeFolder } from "./tree.ts"

export type { EgressRecord } from "./egress/journal.ts"
export type { AgentSecrets, HandsOptions } from "./hands.ts"

export type SandboxKind = "bubblewrap" | "docker" | "none" | "fake"

export interface SandboxesOptions {
  kind: SandboxKind
  dataDir: string
  log: Logger
  /** Of the Docker daemon, for `docker`; where Docker puts it unless told. */
  dockerSocket?: string
  /** A sandbox that runs no command for so long is closed; 5 minutes. */
  idleMs?: number
  /** Open at once on this server; by its memory unless told. */
  maxOpen?: number | null
  /** Open at once for one user; half of all unless told. */
  maxOpenPerUser?: number
  /** Commands that run at once for one user; 16. */
  maxCommandsPerUser?: number
  now?: () => number
  /** Runs before the sandbox is tried, e.g. to install what it needs; tool calls wait for it. */
  beforeTest?: () => Promise<void>
  /** How a user's workspaces are held to their limit; the best that the host allows unless told. */
  diskQuota?: "image" | "watch" | null
  /** For tests: how long a file system stays mounted that nobody uses. */
  diskImageLingerMs?: number
  /** What a user may store, for files that come before the first command; null: without limit. */
  storageBytes?: (userId: string) => Promise<number | null>
  /** Under this much free space (of both the smaller) commands are held and files refused; 2 GiB or 5 %. */
  diskReserve?: DiskReserve
  /** What sandboxes whose network is `egress` may reach: all public addresses on ports 80 and 443 unless told. */
  egress?: Omit<EgressOptions, "log">
}

type Owner = Pick<SandboxSpec, "id" | "userId" | "hostUid">

/** All that other parts see of sandboxes. */
export interface Sandboxes extends AsyncDisposable {
  readonly driver: string
  /** Tries the sandbox for real, once; `again` after something was installed. Tool calls wait for it by themselves. */
  selfTest(signal: AbortSignal, again?: boolean): Promise<DriverReport>
  /** Takes up what an earlier server left running; `ownerOf` gives the user of an agent that may still run something. */
  reap(ownerOf: (agentId: string) => Promise<string | null>, signal: AbortSignal): Promise<void>
  /** Whether the program that the driver needs is not installed at all. */
  isMissing(): boolean
  /** An agent's hands; opens nothing before the first call. */
  hands(spec: SandboxSpec, options: HandsOptions): Hands
  /** An agent's files, without opening a sandbox. */
  files(owner: Owner): WorkspaceFiles
  /** Ends an agent's sandbox; resolves when it is seen gone. The files stay. */
  stop(id: string): Promise<void>
  /** Ends all sandboxes of a user; resolves when they are seen gone. */
  stopUser(userId: string): Promise<void>
  /** Ends all sandboxes of a user who is being deleted and opens no more; their folder is the caller's to remove. */
  endUser(userId: string): Promise<void>
  /** Ends the sandbox and removes the agent's files; the id is refused from then on. */
  destroy(owner: Owner, signal: AbortSignal): Promise<void>
  /** Removes a folder that tenants could write to, however deep, without following a link. Nothing there is fine. */
  removeFolder(path: string, signal: AbortSignal): Promise<void>
  /** 409 `sandbox_unavailable` while the disk is nearly full. For what is not a sandbox's own and can wait. */
  requireRoom(): Promise<void>
  status(): SandboxStatus
  /** The programs that commands find, where they are not the host's; none are known before the first test. */
  programs(): ReadonlySet<string>
  /** Why no sandbox can be had, with the cure; null while none is known. */
  problem(): string | null
  /** For `ping`: `failed` when no sandbox can be opened. */
  stateOf(id: string): "idle" | "running" | "failed"
}

export interface SandboxStatus {
  driver: string
  holds: string[]
  /** One sentence with the cure; null when usable, or not tried yet. */
  problem: string | null
  open: number
  busy: number
  waiting: number
  /** Connections outwards since the start. */
  egress: EgressCounts
}

const MIB = 1024 * 1024
const DEFAULT_RESERVE: DiskReserve = { bytes: 2048 * MIB, share: 0.05 }
/** What an open sandbox may need on the average: the guest and a small command. */
const BYTES_PER_SANDBOX = 128 * MIB

export function createSandboxes(options: SandboxesOptions): Sandboxes {
  const { kind, dataDir, log, idleMs = 300_000, now = Date.now } = options
  let report: DriverReport | null = null
  const driver = remembering(createDriver(options), (latest) => {
    report = latest
  })
  const maxOpen = options.maxOpen ?? Math.min(500, Math.max(8, Math.floor(totalmem() / 2 / BYTES_PER_SANDBOX)))
  const maxOpenPerUser = options.maxOpenPerUser ?? Math.max(1, Math.ceil(maxOpen / 2))
  const egress = createEgress({ log, ...options.egress })
  const pool = createPool({ driver, log, idleMs, maxOpen, maxOpenPerUser, serveEgress: egress.serve })
  const commands = createFairGate({ total: 4 * maxOpen, perUser: options.maxCommandsPerUser ?? 16 })
  const disk = watchDisk({
    folder: dataDir,
    reserve: options.diskReserve ?? DEFAULT_RESERVE,
    log,
    sandboxes: pool.watched,
  })
  const tools = {
    pool,
    commands,
    diskIsLow: disk.isLow,
    refusals: egress.refusals,
    nextOutputId: () => newId("out", now()),
  }
  /** Agents and users that were deleted: no late call may make their folders again. */
  const gone = new Set<string>()

  const requireAlive = ({ id, userId }: Owner) => {
    if (gone.has(id) || gone.has(userId)) throw new AppError("not_found", "agent not found")
  }

  const requireRoom = async () => {
    if (await disk.isLow()) throw new AppError("sandbox_unavailable", DISK_LOW)
  }

  return {
    driver: driver.name,
    selfTest: driver.selfTest,
    reap: pool.reap,
    isMissing: () => kind === "bubblewrap" && !bubblewrapInstalled(),
    hands: (spec, handsOptions) => createHands(spec, handsOptions, tools),
    files: (owner) => guarded(driver.files(owner), () => requireAlive(owner), requireRoom),
    stop: (id) => pool.stop(id),
    stopUser: (userId) => pool.stopUser(userId),
    async endUser(userId) {
      gone.add(userId)
      pool.refuse(userId)
      await pool.stopUser(userId)
      await driver.leaveUser?.(userId)
    },
    async destroy(owner, signal) {
      gone.add(owner.id)
      pool.refuse(owner.id)
      await pool.stop(owner.id)
      await driver.destroy(owner, signal)
    },
    removeFolder,
    requireRoom,
    problem: () => report?.problem ?? null,
    status: () => ({
      driver: driver.name,
      holds: report?.holds ?? [],
      problem: report?.problem ?? null,
      ...pool.status(),
      egress: egress.counts(),
    }),
    programs: () => report?.programs ?? new Set(),
    stateOf: (id) => (report?.usable === false ? "failed" : pool.isRunning(id) ? "running" : "idle"),
    async [Symbol.asyncDispose]() {
      await disk[Symbol.asyncDispose]()
      await pool[Symbol.asyncDispose]()
      await egress[Symbol.asyncDispose]()
      await driver[Symbol.asyncDispose]()
    },
  }
}

/** Tells what each test found: one that was made for a call, too. */
function remembering(driver: SandboxDriver, onReport: (report: DriverReport) => void): SandboxDriver {
  return {
    ...driver,
    async selfTest(signal, again) {
      const report = await driver.selfTest(signal, again)
      onReport(report)
      return report
    },
  }
}

/** Asks before each call, whenever the handle was given out. */
function guarded(files: WorkspaceFiles, check: () => void, checkRoom: () => Promise<void>): WorkspaceFiles {
  const checked =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      check()
      return call(...args)
    }
  return {
    stat: checked(files.stat),
    list: checked(files.list),
    read: checked(files.read),
    write: checked(async (...args) => {
      await checkRoom()
      return files.write(...args)
    }),
    remove: checked(files.remove),
    usage: checked(files.usage),
  }
}

function createDriver(options: SandboxesOptions): SandboxDriver {
  const {
    kind,
    dataDir,
    log,
    beforeTest,
    diskQuota = null,
    diskImageLingerMs: lingerMs,
    storageBytes,
    dockerSocket = "/var/run/docker.sock",
  } = options
  switch (kind) {
    case "bubblewrap":
      return createBubblewrapDriver({ dataDir, log, beforeTest, diskQuota, lingerMs, storageBytes })
    case "docker":
      return createDockerDriver({ dataDir, log, socket: dockerSocket })
    case "none":
      return createNoneDriver({ dataDir, log })
    case "fake":
      return createFakeDriver({ dataDir })
  }
}
