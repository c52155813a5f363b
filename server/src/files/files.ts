import type { Readable } from "node:stream"
import { Transform } from "node:stream"
import { MAX_ENTRIES, MAX_FILE_BYTES } from "@autonomis/contract/files.ts"
import { auditStep } from "../audit/audit.ts"
import type { Database } from "../db/database.ts"
import { lockUser } from "../db/lock-user.ts"
import type { AgentRef, Origin, UserRef } from "../http/endpoint.ts"
import type { Clock } from "../lib/clock.ts"
import { decodeCursor, page } from "../lib/cursor.ts"
import { AppError } from "../lib/errors.ts"
import type { FileEntry, FileStat, SandboxSpec, WorkspaceFiles } from "../sandboxes/driver.ts"
import { matchesStrongly, tagsOf } from "./conditions.ts"
import type { Storage } from "./storage.ts"

const MEMORY_FILE = "MEMORY.md"
const MAX_MEMORY_BYTES = 64 * 1024

type Owner = Pick<SandboxSpec, "id" | "userId" | "hostUid">

export interface Upload {
  body: Readable
  /** As it was announced; null when it was not. */
  sizeBytes: number | null
  ifMatch?: string | undefined
  ifNoneMatch?: string | undefined
}

/** Left out: from the beginning, and as many as fit one answer. */
export interface FolderPage {
  limit?: number | undefined
  cursor?: string | undefined
}
interface Listed {
  entries: FileEntry[]
  nextCursor: string | null
}

export interface AgentFiles {
  stat(user: UserRef, agent: AgentRef, path: string, signal: AbortSignal): Promise<FileStat>
  list(user: UserRef, agent: AgentRef, path: string, page: FolderPage, signal: AbortSignal): Promise<Listed>
  read(
    user: UserRef,
    agent: AgentRef,
    path: string,
    range: { start: number; end: number } | null,
    signal: AbortSignal,
  ): Promise<{ stat: FileStat; body: Readable }>
  write(
    user: UserRef,
    agent: AgentRef,
    path: string,
    upload: Upload,
    origin: Origin,
    signal: AbortSignal,
  ): Promise<{ stat: FileStat; created: boolean }>
  remove(
    user: UserRef,
    agent: AgentRef,
    path: string,
    options: { recursive: boolean; ifMatch: string | undefined },
    origin: Origin,
    signal: AbortSignal,
  ): Promise<void>
  /** A run that used the agent's sandbox has ended: keeps the text of MEMORY.md and the sums up to date. */
  workspaceUsed(userId: string, agentId: string): Promise<void>
}

export interface FilesOptions {
  db: Database
  clock: Clock
  storage: Storage
  workspace(owner: Owner): WorkspaceFiles
  /** Null when the agent is gone. */
  hostUid(userId: string, agentId: string): Promise<number | null>
  setMemory(userId: string, agentId: string, text: string): Promise<void>
}

export function createFiles({ db, clock, storage, workspace, hostUid, setMemory }: FilesOptions): AgentFiles {
  async function filesOf(userId: string, agentId: string): Promise<WorkspaceFiles> {
    const uid = await hostUid(userId, agentId)
    if (uid === null) throw new AppError("not_found", "agent not found")
    return workspace({ id: agentId, userId, hostUid: uid })
  }
  const audit = async (user: UserRef, agent: AgentRef, path: string, action: string, origin: Origin) => {
    const change = { userId: user.id, action, target: `file:${user.name}/${agent.name}/${path}` }
    await db.batch([lockUser(db, user.id), auditStep(db, origin, change, clock.now())])
  }

  /** Null where no file stands yet. */
  async function existing(files: WorkspaceFiles, path: string, signal: AbortSignal): Promise<FileStat | null> {
    try {
      return await files.stat(path, signal)
    } catch (error) {
      if (error instanceof AppError && error.code === "not_found") return null
      throw error
    }
  }

  async function refreshMemory(files: WorkspaceFiles, userId: string, agentId: string): Promise<void> {
    const signal = AbortSignal.timeout(10_000)
    let text = ""
    try {
      const { body } = await files.read(MEMORY_FILE, { start: 0, end: MAX_MEMORY_BYTES }, signal)
      text = asText(Buffer.concat(await body.toArray()))
    } catch (error) {
      // None there, or nothing that can be read as a file: then there is no memory.
      if (!(error instanceof AppError)) throw error
    }
    await setMemory(userId, agentId, text)
  }

  return {
    async stat(user, agent, path, signal) {
      return (await filesOf(user.id, agent.id)).stat(path, signal)
    },

    async list(user, agent, path, { limit = MAX_ENTRIES, cursor }, signal) {
      const [after = ""] = decodeCursor(cursor, ["string"]) ?? []
      const found = await (await filesOf(user.id, agent.id)).list(path, { limit: limit + 1, after }, signal)
      const { rows, nextCursor } = page(found, limit, ({ name }) => [name])
      return { entries: rows, nextCursor }
    },

    async read(user, agent, path, range, signal) {
      return (await filesOf(user.id, agent.id)).read(path, range, signal)
    },

    async write(user, agent, path, { body, sizeBytes, ifMatch, ifNoneMatch }, origin, signal) {
      const files = await filesOf(user.id, agent.id)
      const before = await existing(files, path, signal)
      const hold = await storage.hold(user.id, agent.id)
      // What is replaced makes room.
      let free = before?.type === "file" ? before.sizeBytes : 0
      const counted = new Transform({
        transform(chunk: Buffer, _encoding, done) {
          try {
            if (chunk.length > free) hold.take(chunk.length - free)
            free = Math.max(0, free - chunk.length)
            done(null, chunk)
          } catch (error) {
            done(error instanceof Error ? error : new Error(String(error)))
          }
        },
      })
      body.once("error", (error) => counted.destroy(error))
      // It may fail before the driver begins to read it; who reads it then is told all the same.
      counted.on("error", () => {})
      let grown = 0
      try {
        const conditions = writeConditions(ifMatch, ifNoneMatch, before)
        // Taken at once where the size is known: of many uploads that do not all fit, those that do are stored.
        if (sizeBytes !== null && sizeBytes > free) {
          hold.take(sizeBytes - free)
          free = sizeBytes
        }
        const written = await files.write(path, body.pipe(counted), { maxBytes: MAX_FILE_BYTES, ...conditions }, signal)
        grown = written.stat.sizeBytes - (before?.type === "file" ? before.sizeBytes : 0)
        await audit(user, agent, path, "files.write", origin)
        if (path === MEMORY_FILE) await refreshMemory(files, user.id, agent.id)
        return written
      } finally {
        body.unpipe(counted)
        hold.settle(grown)
      }
    },

    async remove(user, agent, path, { recursive, ifMatch }, origin, signal) {
      const files = await filesOf(user.id, agent.id)
      const before = ifMatch === undefined ? null : await files.stat(path, signal)
      await files.remove(path, { recursive, ...writeConditions(ifMatch, undefined, before) }, signal)
      storage.workspaceChanged(user.id, agent.id)
      await audit(user, agent, path, "files.delete", origin)
      if (path === MEMORY_FILE) await refreshMemory(files, user.id, agent.id)
    },

    async workspaceUsed(userId, agentId) {
      storage.workspaceChanged(userId, agentId)
      const uid = await hostUid(userId, agentId)
      if (uid !== null) await refreshMemory(workspace({ id: agentId, userId, hostUid: uid }), userId, agentId)
    },
  }
}

/** A driver takes one tag; of several the one that stands now, if it is among them. */
function writeConditions(
  ifMatch: string | undefined,
  ifNoneMatch: string | undefined,
  before: FileStat | null,
): { ifMatch?: string; ifNoneMatch?: boolean } {
  const failed = () => new AppError("precondition_failed", "the file is not in the state that the condition asks for")
  const none = tagsOf(ifNoneMatch)
  if (Array.isArray(none) && before !== null && none.some(({ tag }) => tag === before.etag)) throw failed()
  const onlyNew = none === "*" ? { ifNoneMatch: true } : {}
  if (ifMatch === undefined) return onlyNew
  if (before === null || !matchesStrongly(ifMatch, before.etag)) throw failed()
  return { ...onlyNew, ifMatch: tagsOf(ifMatch) === "*" ? "*" : before.etag }
}

/** Text that both databases can keep; a character that the limit has cut is left out. */
function asText(bytes: Buffer): string {
  return new TextDecoder().decode(bytes, { stream: true }).replaceAll("\0", "").toWellFormed()
}
