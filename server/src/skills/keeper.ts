import { auditStep } from "../audit/audit.ts"
import type { Database, Step } from "../db/database.ts"
import type { Origin } from "../http/endpoint.ts"
import type { Clock } from "../lib/clock.ts"
import { AppError } from "../lib/errors.ts"
import { ids } from "../lib/ids.ts"
import { createKeyedLock } from "../lib/keyed-lock.ts"
import type { Bundle } from "./bundle.ts"
import type { SkillFolders, Staging } from "./folder.ts"
import { MAX_SKILLS } from "./limits.ts"
import type { SkillRow, SkillStore, SkillWithFiles } from "./store.ts"
import type { Provenance } from "./stored.ts"

export interface KeeperOptions {
  db: Database
  clock: Clock
  store: SkillStore
  folders: SkillFolders
  /** 403 `plan_limit` when so many more bytes do not fit the user's plan. */
  ensureStorage: (userId: string, moreBytes: number) => Promise<void>
  /** What the user keeps may be less than was thought. */
  storageChanged: (userId: string) => void
}

export interface User {
  id: string
  name: string
}

/** One audited change: what was done to which skill. */
export interface Change {
  action: string
  target: string
}

/**
 * Keeps rows and folders together. The row is what counts: a bundle lies whole and durable on disk before its row refers
 * to it, and links follow the rows. Wherever a crash strikes, either the old version stands or the new one does, and
 * `settle` removes the rest.
 */
export interface Keeper {
  /** Work on what is being received; whatever comes of it, nothing of it stays behind. */
  staged<T>(userId: string, work: (staging: Staging) => Promise<T>): Promise<T>
  keep(
    user: User,
    slug: string,
    staging: Staging,
    bundle: Bundle,
    how: Keep,
  ): Promise<{ row: SkillWithFiles; created: boolean }>
  remove(user: User, slug: string, change: Change, origin: Origin): Promise<void>
  /** Changes a row's words, and shows or hides its bundle; null leaves it as it is. */
  amend(userId: string, slug: string, edit: Edit, origin: Origin): Promise<void>
  settle(userId: string): Promise<void>
  /** Resolves when what is under way for a user is done. */
  quiet(userId: string): Promise<void>
}

export interface Keep {
  provenance: Provenance | null
  changes: readonly Change[]
  origin: Origin
}

export type Edit = (row: SkillRow) => { info: SkillRow["info"]; change: Change | null } | null

export const noSuchSkill = (): AppError => new AppError("not_found", "skill not found")

/** Whether what stands under an id may be replaced by this: an upload by an upload, a skill by its own publisher's. */
export function checkReplaces(before: SkillRow | null, owner: string | null): void {
  if (before === null) return
  const standing = before.info.provenance?.owner ?? null
  if (standing === owner) return
  const whose = standing === null ? "was uploaded" : `was installed from ${standing}`
  throw new AppError("conflict", `a skill ${before.slug} ${whose}; delete it first`)
}

export function createKeeper(options: KeeperOptions): Keeper {
  const { db, clock, store, folders, ensureStorage, storageChanged } = options
  const locks = createKeyedLock()
  const audit = (userId: string, { action, target }: Change, origin: Origin): Step =>
    auditStep(db, origin, { userId, action, target }, clock.now())
  const settleNow = async (userId: string) => {
    const rows = await store.all(userId)
    const wanted = rows.map(({ slug, info }) => ({ slug, bundle: info.bundle, held: info.quarantine !== null }))
    await folders.settle(userId, wanted)
  }
  /** Later than before, whatever the clock says: caches go by it. */
  const later = (before: SkillRow | null) => Math.max(clock.now(), (before?.updatedAt ?? 0) + 1)

  return {
    async staged(userId, work) {
      try {
        await using staging = await folders.stage(userId)
        return await work(staging)
      } catch (error) {
        if (error instanceof AppError && error.message === "user not found") await folders.forget(userId)
        throw error
      }
    },

    keep: (user, slug, staging, bundle, { provenance, changes, origin }) =>
      locks.run(user.id, async () => {
        const before = await store.bySlug(user.id, slug)
        checkReplaces(before, provenance?.owner ?? null)
        if (before === null && (await store.keys(user.id)).length >= MAX_SKILLS)
          throw new AppError("plan_limit", `a user may have ${MAX_SKILLS} skills`, {
            extra: { limit: "skills", max: MAX_SKILLS },
          })
        const more = bundle.sizeBytes - (before?.sizeBytes ?? 0)
        if (more > 0) await ensureStorage(user.id, more)
        const { header, files, sha256, sizeBytes } = bundle
        const row: SkillWithFiles = {
          id: before?.id ?? ids.skill(),
          slug,
          sizeBytes,
          files,
          updatedAt: later(before),
          info: {
            v: 1,
            bundle: ids.bundle(),
            header,
            sha256,
            installedAt: clock.now(),
            provenance,
            quarantine: null,
          },
        }
        await folders.place(user.id, staging, row.info.bundle)
        try {
          const steps = changes.map((change) => audit(user.id, change, origin))
          await store.write(user.id, [store.put(user.id, row, before), store.raisePrompts(user.id), ...steps])
        } finally {
          // The new version's link on success; on failure the placed bundle goes again.
          await settleNow(user.id)
          storageChanged(user.id)
        }
        return { row, created: before === null }
      }),

    remove: (user, slug, change, origin) =>
      locks.run(user.id, async () => {
        const row = await store.bySlug(user.id, slug)
        if (row === null) throw noSuchSkill()
        const steps = [store.remove(user.id, row), store.raisePrompts(user.id), audit(user.id, change, origin)]
        await store.write(user.id, steps)
        await settleNow(user.id)
        storageChanged(user.id)
      }),

    amend: (userId, slug, edit, origin) =>
      locks.run(userId, async () => {
        const before = await store.bySlug(userId, slug)
        const edited = before === null ? null : edit(before)
        if (before === null || edited === null) return
        const steps: Step[] = [store.amend(userId, before, edited.info, later(before))]
        if (edited.change !== null) steps.push(store.raisePrompts(userId), audit(userId, edited.change, origin))
        await store.write(userId, steps)
        await settleNow(userId)
      }),

    settle: (userId) => locks.run(userId, () => settleNow(userId)),
    quiet: (userId) => locks.run(userId, async () => {}),
  }
}
