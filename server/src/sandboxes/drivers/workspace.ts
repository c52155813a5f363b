import { spawn } from "node:child_process"
import { chmod, chown, lstat, mkdir } from "node:fs/promises"
import { join } from "node:path"
import { AppError } from "../../lib/errors.ts"
import type { SandboxSpec, WorkspaceFiles } from "../driver.ts"
import { createHostFiles } from "../files.ts"
import { removeFolder } from "../tree.ts"

export type Owner = Pick<SandboxSpec, "id" | "userId" | "hostUid">

/** Where workspaces are on the host: `<data>/users/<user>/agents/<agent>/workspace`. */
export interface Workspaces {
  path(owner: Owner): string
  /** Makes it if it is not there, owned by the agent's uid, mode 0700; the folders above can be passed but not listed. */
  prepare(owner: Owner): Promise<void>
  files(owner: Owner): WorkspaceFiles
  remove(owner: Owner, signal: AbortSignal): Promise<void>
  /** A user's whole folder. */
  removeUser(userId: string, signal: AbortSignal): Promise<void>
}

export interface WorkspacesOptions {
  dataDir: string
  /** False: everything belongs to whoever the server is. */
  ownUids: boolean
}

export function createWorkspaces({ dataDir, ownUids }: WorkspacesOptions): Workspaces {
  const users = join(dataDir, "users")
  const agentFolder = (owner: Owner) => join(users, opaque(owner.userId), "agents", opaque(owner.id))
  const path = (owner: Owner) => join(agentFolder(owner), "workspace")

  async function prepare(owner: Owner): Promise<void> {
    const workspace = path(owner)
    const found = await lstat(workspace).catch(() => null)
    if (found?.isDirectory() && (!ownUids || found.uid === owner.hostUid)) return
    await mkdir(workspace, { recursive: true })
    for (const folder of [users, join(users, owner.userId), join(users, owner.userId, "agents"), agentFolder(owner)])
      await chmod(folder, 0o711)
    await chmod(workspace, 0o700)
    if (!ownUids) return
    // A workspace from a server that ran as another user, or from a backup, changes hands whole.
    if (found !== null) await chownTree(workspace, owner.hostUid)
    await chown(workspace, owner.hostUid, owner.hostUid)
  }

  return {
    path,
    prepare,
    files: (owner) =>
      createHostFiles({ root: path(owner), uid: ownUids ? owner.hostUid : null, prepare: () => prepare(owner) }),
    remove: (owner, signal) => removeFolder(agentFolder(owner), signal),
    removeUser: (userId, signal) => removeFolder(join(users, opaque(userId)), signal),
  }
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
