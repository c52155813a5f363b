import { statfs } from "node:fs/promises"
import { availableParallelism } from "node:os"
import { join } from "node:path"
import type { Duplex } from "node:stream"
import { AppError, messageOf } from "../lib/errors.ts"
import type { Logger } from "../lib/log.ts"
import { HandsError } from "../runtime/hands.ts"
import type { WatchedSandbox } from "./disk-watch.ts"
import type { GuestStream, LimitHits, SandboxDriver, SandboxSpec } from "./driver.ts"
import { createFairGate } from "./fair-gate.ts"
import { connectGuest, type GuestClient } from "./guest-client.ts"

export interface PoolOptions {
  driver: SandboxDriver
  log: Logger
  /** A sandbox that runs no command for so long is closed. */
  idleMs: number
  maxOpen: number
  maxOpenPerUser: number
  /** Takes the connections outwards of sandboxes whose policy allows any. */
  serveEgress: (spec: SandboxSpec, stream: Duplex) => void
}

/** An agent's guest, while a call uses it. */
export interface OpenGuest {
  client: GuestClient
  hits(): LimitHits & { storage: number }
  /** Its disk takes no more. */
  isFull(): Promise<boolean>
  /** Closes it after the calls that are under way; the next call opens another. */
  retire(): void
}

/** Opens an agent's guest on the first call, one for each agent, and closes those that are not used. */
export interface Pool {
  /** Errors: HandsError, `unavailable` with the reason when no sandbox can be had. */
  use<T>(spec: SandboxSpec, signal: AbortSignal, work: (guest: OpenGuest) => Promise<T>): Promise<T>
  /** An agent or a user that is gone: nothing is opened for it any more. Ids are never used again. */
  refuse(id: string): void
  /** Ends an agent's sandbox and resolves when it is seen gone. Calls under way fail. */
  stop(id: string): Promise<void>
  stopUser(userId: string): Promise<void>
  /**
   * What an earlier server left running is ended when its agent may run nothing any more; else it is kept for the next
   * call, as long as any sandbox that does nothing. `ownerOf` gives the agent's user, or null.
   */
  reap(ownerOf: (id: string) => Promise<string | null>, signal: AbortSignal): Promise<void>
  status(): PoolStatus
  isRunning(id: string): boolean
  /** For the watch over the disk. */
  watched(): WatchedSandbox[]
  [Symbol.asyncDispose](): Promise<void>
}

export interface PoolStatus {
  open: number
  busy: number
  waiting: number
}

interface Entry {
  spec: SandboxSpec
  key: string
  opening: Promise<OpenGuest>
  busy: number
  retired: boolean
  /** Set when it is being closed; resolves when nothing of it is left. */
  closing: Promise<void> | null
  idle: NodeJS.Timeout | undefined
  release: () => void
}

const OPEN_MS = 30_000
const NEVER = new AbortController().signal
const PLACE_MS = 60_000

export function createPool({ driver, log, idleMs, maxOpen, maxOpenPerUser, serveEgress }: PoolOptions): Pool {
  /** In the order of use: the first was used longest ago. */
  const entries = new Map<string, Entry>()
  const refused = new Set<string>()
  const watched = new Map<string, WatchedSandbox>()
  /** Of an earlier server, with the agent's user; not taken over yet, or it was. */
  const left = new Map<string, string>()
  let stopping = false
  /** Starting is work for the processor: a hundred at once would each take a hundred times as long. */
  const starts = createFairGate({ total: 2 * availableParallelism(), perUser: availableParallelism() })
  const gate = createFairGate({ total: maxOpen, perUser: maxOpenPerUser, onBlocked: evict })

  /** Frees a place for whoever waits: of the sandboxes that do nothing the one used longest ago. */
  function evict(userId: string, by: "user" | "total"): void {
    for (const entry of entries.values()) {
      if (entry.busy > 0 || entry.closing !== null || (by === "user" && entry.spec.userId !== userId)) continue
      void close(entry)
      return
    }
  }

  /** The agent's entry, counted as busy from here on, so that nobody closes it in between. */
  async function entryFor(spec: SandboxSpec, signal: AbortSignal): Promise<Entry> {
    const key = JSON.stringify(spec)
    for (;;) {
      if (stopping) throw new HandsError("unavailable", "the server is stopping")
      if (refused.has(spec.id) || refused.has(spec.userId)) throw new HandsError("unavailable", "the agent was deleted")
      const entry = entries.get(spec.id)
      if (entry === undefined) {
        const release = await place(spec.userId, signal)
        if (!stopping && !entries.has(spec.id)) return hold(open(spec, key, release))
        release()
      } else if (entry.closing !== null) await untilAborted(entry.closing, signal)
      // New limits or a new policy: a sandbox that nobody uses is opened anew with them.
      else if (entry.key !== key && entry.busy === 0) await untilAborted(close(entry), signal)
      else {
        entries.delete(spec.id)
        entries.set(spec.id, entry)
        return hold(entry)
      }
    }
  }

  function hold(entry: Entry): Entry {
    entry.busy++
    clearTimeout(entry.idle)
    return entry
  }

  async function place(userId: string, signal: AbortSignal): Promise<() => void> {
    try {
      return await gate.enter(userId, AbortSignal.any([signal, AbortSignal.timeout(PLACE_MS)]))
    } catch {
      throw signal.aborted ? aborted() : new HandsError("unavailable", "all sandboxes are busy; try again later")
    }
  }

  function open(spec: SandboxSpec, key: string, release: () => void): Entry {
    const entry: Entry = {
      spec,
      key,
      busy: 0,
      retired: false,
      closing: null,
      idle: undefined,
      release,
      opening: openGuest(spec),
    }
    entries.set(spec.id, entry)
    entry.opening.then(
      ({ client }) => void client.ended.then(() => close(entry)),
      () => void close(entry),
    )
    return entry
  }

  async function openGuest(spec: SandboxSpec): Promise<OpenGuest> {
    // That may include an installation, which takes longer than an opening may.
    await driver.selfTest(NEVER)
    const leaveStarts = await starts.enter(spec.userId, NEVER)
    try {
      const stream = await driver.open(spec, AbortSignal.timeout(OPEN_MS))
      const tunnelled = spec.network === "egress" ? (tunnel: Duplex) => serveEgress(spec, tunnel) : undefined
      const client = await connectGuest(stream, tunnelled)
      return {
        client,
        hits: watchWorkspace(spec, stream, client),
        isFull: async () => stream.host?.disk != null && isFull(stream.host.disk),
        retire: () => retire(spec.id, client),
      }
    } catch (error) {
      if (error instanceof HandsError) throw error
      if (error instanceof AppError && error.code === "sandbox_unavailable")
        throw new HandsError("unavailable", error.message)
      log.error("a sandbox could not be opened", { agent: spec.id, error })
      throw new HandsError("unavailable", "the sandbox could not be opened")
    } finally {
      leaveStarts()
    }
  }

  /** While it is open its workspace is watched; gives what counts the limits that it ran into. */
  function watchWorkspace(spec: SandboxSpec, { host, hits }: GuestStream, client: GuestClient): OpenGuest["hits"] {
    let storage = 0
    const counted = hits ?? (() => ({ memory: 0, pids: 0 }))
    if (host !== undefined) {
      watched.set(spec.id, {
        id: spec.id,
        folder: host.disk ?? join(host.workspace, "../.."),
        ownDisk: host.disk != null,
        limitBytes: spec.limits.storageBytes,
        passed() {
          storage++
          log.info("a workspace passed its limit", { agent: spec.id })
          host.signalCommands("SIGKILL")
        },
        hold: (on) => host.signalCommands(on ? "SIGSTOP" : "SIGCONT"),
      })
      void client.ended.then(() => watched.delete(spec.id))
    }
    return () => ({ ...counted(), storage })
  }

  function retire(id: string, client: GuestClient): void {
    const entry = entries.get(id)
    if (entry === undefined) return
    void entry.opening.then((guest) => {
      if (guest.client === client) entry.retired = true
    })
  }

  function close(entry: Entry): Promise<void> {
    entry.closing ??= (async () => {
      clearTimeout(entry.idle)
      await entry.opening.then(
        ({ client }) => client.close(),
        () => {},
      )
      await driver.stop(entry.spec.id, AbortSignal.timeout(OPEN_MS)).catch((error) => {
        log.error("a sandbox could not be stopped", { agent: entry.spec.id, error: messageOf(error) })
      })
      if (entries.get(entry.spec.id) === entry) entries.delete(entry.spec.id)
      entry.release()
    })()
    return entry.closing
  }

  function leave(entry: Entry): void {
    entry.busy--
    if (entry.busy > 0 || entry.closing !== null) return
    const closing = [...entries.values()].filter((other) => other.closing !== null).length
    const wanted = gate.waiting > closing && gate.wouldAdmit(entry.spec.userId)
    if (entry.retired || wanted) void close(entry)
    else entry.idle = setTimeout(() => void close(entry), idleMs).unref()
  }

  async function endLeft(id: string): Promise<void> {
    if (!left.delete(id) || entries.has(id)) return
    await driver.stop(id, AbortSignal.timeout(OPEN_MS)).catch((error) => {
      log.error("a sandbox of an earlier server could not be stopped", { agent: id, error: messageOf(error) })
    })
  }

  const closeWhere = async (which: (entry: Entry) => boolean) => {
    await Promise.all([...entries.values()].filter(which).map(close))
  }

  return {
    async use(spec, signal, work) {
      const entry = await entryFor(spec, signal)
      try {
        return await work(await untilAborted(entry.opening, signal))
      } finally {
        leave(entry)
      }
    },
    refuse: (id) => void refused.add(id),
    async stop(id) {
      await closeWhere((entry) => entry.spec.id === id)
      await endLeft(id)
    },
    async stopUser(userId) {
      await closeWhere((entry) => entry.spec.userId === userId)
      await Promise.all([...left].filter(([, owner]) => owner === userId).map(([id]) => endLeft(id)))
    },
    async reap(ownerOf, signal) {
      for (const { id, running } of await driver.list(signal)) {
        const owner = running ? await ownerOf(id) : null
        if (owner === null) {
          if (!entries.has(id)) await driver.stop(id, signal)
        } else {
          left.set(id, owner)
          setTimeout(() => void endLeft(id), idleMs).unref()
        }
      }
    },
    status: () => ({
      open: entries.size,
      busy: [...entries.values()].filter((entry) => entry.busy > 0).length,
      waiting: gate.waiting,
    }),
    watched: () => [...watched.values()],
    isRunning: (id) => entries.get(id)?.closing === null,
    async [Symbol.asyncDispose]() {
      stopping = true
      await closeWhere(() => true)
    },
  }
}

/** Less than any program can work with. */
const SPARE_BYTES = 128 * 1024
/** What the guest itself made for the command, and has removed again. */
const SPARE_INODES = 16

async function isFull(disk: string): Promise<boolean> {
  // Gone with what held it: then nobody knows, and the command's own answer counts.
  const found = await statfs(disk).catch(() => null)
  return found !== null && (found.bavail * found.bsize < SPARE_BYTES || found.ffree < SPARE_INODES)
}

export const aborted = () => new HandsError("aborted", "aborted")

/** What goes on for others is waited for only as long as the caller wants. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) throw aborted()
  const { promise: stop, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(aborted())
  signal.addEventListener("abort", onAbort, { once: true })
  try {
    return await Promise.race([promise, stop])
  } finally {
    signal.removeEventListener("abort", onAbort)
  }
}
