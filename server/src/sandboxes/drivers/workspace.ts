import { spawn } from "node:child_process"
import { chmod, chown, lstat, mkdir } from "node:fs/promises"
import { join } from "node:path"
import { AppError } from "../../lib/errors.ts"
import type { SandboxSpec, WorkspaceFiles } from "../driver.ts"
import { createHostFiles } from "../files.ts"
import { removeFolder } from "../tree.ts"
import { codeOf } from "../walk.ts"
import { type Disk, type DiskImages, IMAGE_NAME, makeFolder } from "./disk-images.ts"

export type Owner = Pick<SandboxSpec, "id" | "userId" | "hostUid">

/**
 * Where workspaces are on the host: `<data>/users/<user>/agents/<agent>/workspace`, or a folder named by the agent in the
 * file system of its user, where there is one.
 */
export interface Workspaces {
  /** Of those that are folders of the host. */
  path(owner: Owner): string
  /** Makes it if it is not there, owned by the agent's uid, mode 0700; the folders above can be passed but not listed. */
  prepare(owner: Owner): Promise<void>
  /** The same, wherever it is, and keeps it there until released. */
  open(owner: Owner, storageBytes: number | null): Promise<OpenWorkspace>
  files(owner: Owner): WorkspaceFiles
  remove(owner: Owner, signal: AbortSignal): Promise<void>
  /** A user's whole folder. */
  removeUser(userId: string, signal: AbortSignal): Promise<void>
  /** Lets go of a user's folder, which is to be moved. */
  leaveUser(userId: string): Promise<void>
}

export interface OpenWorkspace {
  path: string
  /** The same, as a program finds it that has entered where file systems are mounted. */
  inside: string
  /** The file system that holds the user's workspaces; null: the host's. */
  disk: string | null
  release(): void
}

export interface WorkspacesOptions {
  dataDir: string
  /** False: everything belongs to whoever the server is. */
  ownUids: boolean
  /** File systems for users, asked for when first needed; null where there can be none. */
  disks?: () => Promise<DiskImages | null>
  /** What a user may store; null: without limit. */
  storageBytes?: ((userId: string) => Promise<number | null>) | undefined
}

const ON_HOST = { disk: null, release() {} }

export function createWorkspaces({
  dataDir,
  ownUids,
  disks = async () => null,
  storageBytes = async () => null,
}: WorkspacesOptions): Workspaces {
  const users = join(dataDir, "users")
  const agentFolder = (owner: Owner) => join(users, opaque(owner.userId), "agents", opaque(owner.id))
  const path = (owner: Owner) => join(agentFolder(owner), "workspace")

  async function makeUserFolder(userId: string): Promise<void> {
    await mkdir(join(users, opaque(userId)), { recursive: true })
    for (const folder of [users, join(users, userId)]) await chmod(folder, 0o711)
  }

  async function prepare(owner: Owner): Promise<void> {
    const workspace = path(owner)
    if (await isOwn(owner, workspace)) return
    if (!(await isOnHost(owner))) await requireNoImage(owner.userId)
    await makeUserFolder(owner.userId)
    await mkdir(agentFolder(owner), { recursive: true })
    for (const folder of [join(users, owner.userId, "agents"), agentFolder(owner)]) await chmod(folder, 0o711)
    await make(owner, workspace)
  }

  async function isOwn(owner: Owner, workspace: string): Promise<boolean> {
    const found = await lstat(workspace).catch(() => null)
    return found?.isDirectory() === true && (!ownUids || found.uid === owner.hostUid)
  }

  async function make(owner: Owner, workspace: string): Promise<void> {
    const isNew = await makeFolder(workspace)
    await chmod(workspace, 0o700)
    if (!ownUids) return
    // A workspace from a server that ran as another user, or from a backup, changes hands whole.
    if (!isNew) await chownTree(workspace, owner.hostUid)
    await chown(workspace, owner.hostUid, owner.hostUid)
  }

  /** A workspace that was a folder before there were file systems for users stays one. */
  async function isOnHost(owner: Owner): Promise<boolean> {
    return (await lstat(path(owner)).catch(() => null)) !== null
  }

  async function imagesOf(userId: string): Promise<{ images: DiskImages; exists: boolean } | null> {
    const images = await disks()
    if (images !== null) return { images, exists: await images.exists(opaque(userId)) }
    await requireNoImage(userId)
    return null
  }

  /** Never a second workspace beside one that cannot be seen now. */
  async function requireNoImage(userId: string): Promise<void> {
    if ((await lstat(join(users, opaque(userId), IMAGE_NAME)).catch(() => null)) !== null) throw imageClosed()
  }

  async function open(owner: Owner, limitBytes: number | null): Promise<OpenWorkspace> {
    const found = (await isOnHost(owner)) ? null : await imagesOf(owner.userId)
    if (found === null || (!found.exists && !found.images.make)) {
      await prepare(owner)
      return { path: path(owner), inside: path(owner), ...ON_HOST }
    }
    if (!found.exists) await makeUserFolder(owner.userId)
    return openOn(await found.images.enter(owner.userId, limitBytes), owner)
  }

  async function openOn(disk: Disk, owner: Owner): Promise<OpenWorkspace> {
    try {
      const workspace = join(disk.path, opaque(owner.id))
      if (!(await isOwn(owner, workspace))) await make(owner, workspace)
      return { path: workspace, inside: join(disk.inside, owner.id), disk: disk.path, release: disk.release }
    } catch (error) {
      disk.release()
      throw codeOf(error) === "ENOSPC" ? diskFull() : error
    }
  }

  /** Where there is a workspace already; reading makes none. */
  async function find(owner: Owner): Promise<OpenWorkspace | null> {
    const found = (await isOnHost(owner)) ? null : await imagesOf(owner.userId)
    if (found === null) return open(owner, null)
    if (!found.exists) return found.images.make ? null : open(owner, null)
    const disk = await found.images.enter(owner.userId)
    const workspace = join(disk.path, opaque(owner.id))
    if ((await lstat(workspace).catch(() => null)) !== null) return openOn(disk, owner)
    disk.release()
    return null
  }

  return {
    path,
    prepare,
    open,
    files: (owner) =>
      createHostFiles({
        uid: ownUids ? owner.hostUid : null,
        async within(makes, work) {
          const found = makes ? await open(owner, await storageBytes(owner.userId)) : await find(owner)
          try {
            return await work(found?.path ?? (await emptyFolder(dataDir)))
          } finally {
            found?.release()
          }
        },
      }),
    async remove(owner, signal) {
      await removeFolder(agentFolder(owner), signal)
      const found = await imagesOf(owner.userId)
      if (found === null || !found.exists) return
      const disk = await found.images.enter(owner.userId)
      try {
        await removeFolder(join(disk.path, opaque(owner.id)), signal)
      } finally {
        disk.release()
      }
    },
    async removeUser(userId, signal) {
      await (await disks())?.leave(userId)
      await removeFolder(join(users, opaque(userId)), signal)
    },
    leaveUser: async (userId) => (await disks())?.leave(userId),
  }
}

const imageClosed = () =>
  new AppError(
    "sandbox_unavailable",
    "this user's workspaces are in a disk image, which only a server with root's rights and loop devices can open",
  )

const diskFull = () =>
  new AppError("sandbox_unavailable", "the storage limit of this user is reached; delete files of another agent first")

/** Stands for a workspace that is not there yet. */
async function emptyFolder(dataDir: string): Promise<string> {
  const empty = join(dataDir, "empty")
  await mkdir(empty, { recursive: true, mode: 0o555 })
  return empty
}

/** Ids are ours and opaque; a name must never get here. */
function opaque(id: string): string {
  if (!/^[A-Za-z0-9_-]{1,80}$/.test(id))
    throw new AppError("internal", "internal server error", { cause: new Error(`not an id: ${id}`) })
  return id
}

function chownTree(path: string, uid: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn("chown", ["-hR", `${uid}:${uid}`, "--", path], { stdio: "ignore" })
    child.once("error", reject)
    child.once("exit", (code) => (code === 0 ? resolve() : reject(new Error(`chown ended with ${code}`))))
  })
}
