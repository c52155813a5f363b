import { randomBytes } from "node:crypto"
import { access, type FileHandle, mkdir, open, readdir, readlink, rename, rm, rmdir, symlink } from "node:fs/promises"
import { dirname, join } from "node:path"
import { createGate } from "../lib/gate.ts"
import type { BundleFile } from "./archive.ts"

/**
 * A user's skills on disk, below `<data>/users/<user id>/skills`:
 * - `shown/` is what the user's sandboxes see, read-only: one link a skill, `<skill id> → .bundles/<bundle id>`;
 * - `shown/.bundles/` holds the bundles, each written once and never changed;
 * - `held/` holds those in quarantine, out of every agent's sight;
 * - `staging/` what is being received. Nothing else ever sees it.
 *
 * The database says what should stand; `settle` makes the disk match it, from whatever a crash left.
 */
export interface SkillFolders {
  shown(userId: string): string
  /** Makes the folder that sandboxes mount, so that a skill installed later shows up in those already open. */
  prepare(userId: string): Promise<void>
  stage(userId: string): Promise<Staging>
  /** Puts a staged bundle, durable, where the database may refer to it. */
  place(userId: string, staging: Staging, bundle: string): Promise<void>
  settle(userId: string, wanted: readonly Wanted[]): Promise<void>
  /** A file of a bundle, whether shown or held. */
  open(userId: string, bundle: string, path: string): Promise<FileHandle>
  /** The ids of all users with a folder. */
  users(): Promise<string[]>
  exists(userId: string): Promise<boolean>
  /** Removes what an earlier server was receiving when it ended. */
  clearStaging(userId: string): Promise<void>
  /** Removes the folders made for a user who turned out to be gone. */
  forget(userId: string): Promise<void>
}

/** A skill that the database knows. */
export interface Wanted {
  slug: string
  bundle: string
  held: boolean
}

export interface Staging extends AsyncDisposable {
  readonly folder: string
  readonly body: string
  write(file: BundleFile): Promise<void>
  /** Waits until every file is on the disk itself. */
  flush(): Promise<void>
}

const FOLDER_MODE = 0o755
const FILES_AT_ONCE = 8
const UMASK = process.umask()

export function skillFolders(dataDir: string): SkillFolders {
  const users = join(dataDir, "users")
  /** What bears it is this server's own, and under way. */
  const boot = `${randomBytes(6).toString("hex")}-`
  const root = (userId: string) => join(users, userId, "skills")
  const shown = (userId: string) => join(root(userId), "shown")
  const bundles = (userId: string) => join(shown(userId), ".bundles")
  const held = (userId: string) => join(root(userId), "held")

  const prepare = async (userId: string) => {
    await mkdir(join(users, userId), { recursive: true, mode: 0o711 })
    for (const folder of [root(userId), shown(userId), bundles(userId)]) await makeFolder(folder)
  }

  return {
    shown,
    prepare,

    async stage(userId) {
      await prepare(userId)
      const folder = join(root(userId), "staging", boot + randomBytes(8).toString("hex"))
      await mkdir(join(folder, "bundle"), { recursive: true, mode: 0o700 })
      return staging(folder)
    },

    async place(userId, { folder }, bundle) {
      await chmodFolder(join(folder, "bundle"))
      await syncFolder(join(folder, "bundle"))
      await rename(join(folder, "bundle"), join(bundles(userId), bundle))
      await syncFolder(bundles(userId))
    },

    async settle(userId, wanted) {
      await prepare(userId)
      const byBundle = new Map(wanted.map((skill) => [skill.bundle, skill]))
      const links = new Map(wanted.filter((skill) => !skill.held).map((skill) => [skill.slug, skill.bundle]))
      // Bundles come back before links point to them, and leave after.
      for (const bundle of await namesIn(held(userId))) {
        const skill = byBundle.get(bundle)
        if (skill?.held) continue
        if (skill) await rename(join(held(userId), bundle), join(bundles(userId), bundle))
        else await rm(join(held(userId), bundle), { recursive: true, force: true })
      }
      await settleLinks(shown(userId), links)
      for (const bundle of await namesIn(bundles(userId))) {
        const skill = byBundle.get(bundle)
        if (skill && !skill.held) continue
        if (skill) {
          await mkdir(held(userId), { recursive: true, mode: 0o700 })
          await rename(join(bundles(userId), bundle), join(held(userId), bundle))
        } else await rm(join(bundles(userId), bundle), { recursive: true, force: true })
      }
    },

    async open(userId, bundle, path) {
      try {
        return await open(join(bundles(userId), bundle, path), "r")
      } catch (error) {
        if (!isMissing(error)) throw error
        return await open(join(held(userId), bundle, path), "r")
      }
    },

    users: () => namesIn(users),

    exists: (userId) =>
      access(shown(userId)).then(
        () => true,
        () => false,
      ),

    async clearStaging(userId) {
      for (const name of await namesIn(join(root(userId), "staging"))) {
        if (!name.startsWith(boot)) await rm(join(root(userId), "staging", name), { recursive: true, force: true })
      }
    },

    async forget(userId) {
      const empty = ["staging", "shown/.bundles", "shown", ""].map((name) => join(root(userId), name))
      for (const folder of [...empty, join(users, userId)]) await rmdir(folder).catch(() => {})
    },
  }
}

/** Each link is replaced by one rename: a reader finds the old skill or the new one, whole, at every moment. */
async function settleLinks(shown: string, links: ReadonlyMap<string, string>): Promise<void> {
  let changed = false
  const standing = await namesIn(shown)
  for (const name of standing) {
    if (name === ".bundles" || links.has(name)) continue
    await rm(join(shown, name), { recursive: true, force: true })
    changed = true
  }
  const targets = new Map(
    await Promise.all(
      standing.map(async (name) => [name, await readlink(join(shown, name)).catch(() => null)] as const),
    ),
  )
  for (const [slug, bundle] of links) {
    const target = `.bundles/${bundle}`
    if (targets.get(slug) === target) continue
    const temporary = join(shown, `.link-${randomBytes(6).toString("hex")}`)
    await symlink(target, temporary)
    await rename(temporary, join(shown, slug))
    changed = true
  }
  if (changed) await syncFolder(shown)
}

function staging(folder: string): Staging {
  const gate = createGate(FILES_AT_ONCE)
  const made = new Map<string, Promise<unknown>>()
  const writes: Promise<void>[] = []
  let failed: unknown = null

  const folderFor = (path: string): Promise<unknown> => {
    if (path === join(folder, "bundle")) return Promise.resolve()
    let making = made.get(path)
    if (making === undefined) {
      making = folderFor(dirname(path)).then(() => makeFolder(path))
      made.set(path, making)
    }
    return making
  }
  return {
    folder,
    body: join(folder, "body"),
    async write({ path, data, executable }) {
      if (failed !== null) throw failed
      const target = join(folder, "bundle", path)
      const written = gate(async () => {
        await folderFor(dirname(target))
        await writeDurably(target, data, executable ? 0o755 : 0o644)
      })
      writes.push(
        written.catch((error: unknown) => {
          failed ??= error
        }),
      )
    },
    async flush() {
      await Promise.all(writes)
      if (failed !== null) throw failed
      for (const path of made.keys()) await syncFolder(path)
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(writes)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function writeDurably(path: string, data: Buffer, mode: number): Promise<void> {
  const file = await open(path, "wx", mode)
  try {
    await file.writeFile(data)
    // Whatever the process's umask is, another user runs the sandbox.
    if ((mode & ~UMASK) !== mode) await file.chmod(mode)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path)
  } catch (error) {
    if (codeOf(error) === "EEXIST") return
    throw error
  }
  await chmodFolder(path)
  await syncFolder(dirname(path))
}

async function chmodFolder(path: string): Promise<void> {
  const folder = await open(path, "r")
  try {
    await folder.chmod(FOLDER_MODE)
  } finally {
    await folder.close()
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r")
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: unknown) => {
    if (isMissing(error)) return []
    throw error
  })
}

const isMissing = (error: unknown) => codeOf(error) === "ENOENT"
const codeOf = (error: unknown) => (error instanceof Error && "code" in error ? error.code : undefined)
