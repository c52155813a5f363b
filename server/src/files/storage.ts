import { AppError } from "../lib/errors.ts"
import type { SandboxSpec } from "../sandboxes/driver.ts"

type Owner = Pick<SandboxSpec, "id" | "userId" | "hostUid">

/** How long a sum is believed that nobody has said to be out of date. */
const BELIEVED_MS = 60_000

/** Room that a write takes while it is under way. */
export interface Hold {
  /** 403 `plan_limit` when so many more bytes do not fit the plan. */
  take(bytes: number): void
  /** The write is over: `bytes` more (or fewer) stand in the workspace. */
  settle(bytes: number): void
}

/**
 * What each user keeps: workspaces, skills, attachments and transcripts. The sums are kept in memory, so that asking is
 * cheap, and bytes under way count, so that many writes at once pass no limit. What commands write in a sandbox shows
 * at the next look.
 */
export interface Storage {
  /** 403 `plan_limit` when so many more bytes do not fit; else they count from now on. */
  ensure(userId: string, moreBytes: number): Promise<void>
  hold(userId: string, agentId: string): Promise<Hold>
  usedBytes(userId: string): Promise<number>
  /** A workspace may have changed. */
  workspaceChanged(userId: string, agentId: string): void
  /** Skills, sessions or attachments were removed. */
  changed(userId: string): void
  forget(userId: string): void
}

export interface StorageOptions {
  now(): number
  /** Null: unlimited; undefined: the user is gone. */
  limit(userId: string): Promise<number | null | undefined>
  owners(userId: string): Promise<readonly Owner[]>
  /** Bytes in a workspace now. */
  workspaceBytes(owner: Owner): Promise<number>
  /** Everything else that counts. */
  otherBytes(userId: string): Promise<number>
}

interface Sum {
  bytes: number
  at: number
}

interface Account {
  workspaces: Map<string, Sum>
  others: Sum | null
  underWay: number
  looking: Promise<void> | null
}

export function createStorage({ now, limit, owners, workspaceBytes, otherBytes }: StorageOptions): Storage {
  const accounts = new Map<string, Account>()

  const accountOf = (userId: string): Account => {
    const known = accounts.get(userId)
    if (known !== undefined) return known
    const made: Account = { workspaces: new Map(), others: null, underWay: 0, looking: null }
    accounts.set(userId, made)
    return made
  }
  const isFresh = (sum: Sum | null | undefined) => sum !== null && sum !== undefined && now() - sum.at < BELIEVED_MS

  async function look(userId: string, account: Account): Promise<void> {
    const found = await owners(userId)
    const ids = new Set(found.map((owner) => owner.id))
    for (const id of account.workspaces.keys()) if (!ids.has(id)) account.workspaces.delete(id)
    for (const owner of found) {
      if (isFresh(account.workspaces.get(owner.id))) continue
      const at = now()
      account.workspaces.set(owner.id, { bytes: await workspaceBytes(owner), at })
    }
    if (isFresh(account.others)) return
    const at = now()
    account.others = { bytes: await otherBytes(userId), at }
  }

  /** One look at a time for each user, however many ask. */
  async function current(userId: string): Promise<Account> {
    const account = accountOf(userId)
    account.looking ??= look(userId, account).finally(() => {
      account.looking = null
    })
    await account.looking
    return account
  }

  const used = (account: Account): number => {
    let bytes = account.underWay + (account.others?.bytes ?? 0)
    for (const sum of account.workspaces.values()) bytes += sum.bytes
    return bytes
  }

  function require(account: Account, moreBytes: number, max: number | null | undefined): void {
    if (max === undefined) throw new AppError("not_found", "user not found")
    if (max === null || moreBytes <= 0 || used(account) + moreBytes <= max) return
    throw new AppError(
      "plan_limit",
      `your plan's storage of ${max} bytes is full; delete something or change the plan`,
      {
        extra: { limit: "storage_bytes", max },
      },
    )
  }

  return {
    async ensure(userId, moreBytes) {
      const max = await limit(userId)
      if (max === null) return
      const account = await current(userId)
      require(account, moreBytes, max)
      if (account.others !== null) account.others.bytes += moreBytes
    },
    async hold(userId, agentId) {
      const max = await limit(userId)
      const account = max === null ? accountOf(userId) : await current(userId)
      let taken = 0
      return {
        take(bytes) {
          require(account, bytes, max)
          taken += bytes
          account.underWay += bytes
        },
        settle(bytes) {
          account.underWay -= taken
          taken = 0
          const sum = account.workspaces.get(agentId)
          if (sum !== undefined) sum.bytes += bytes
        },
      }
    },
    usedBytes: async (userId) => used(await current(userId)),
    workspaceChanged(userId, agentId) {
      const sum = accounts.get(userId)?.workspaces.get(agentId)
      if (sum !== undefined) sum.at = Number.NEGATIVE_INFINITY
    },
    changed(userId) {
      const account = accounts.get(userId)
      if (account !== undefined && account.others !== null) account.others.at = Number.NEGATIVE_INFINITY
    },
    forget(userId) {
      accounts.delete(userId)
    },
  }
}
