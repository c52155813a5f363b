import type { BatchRows, Database, Step } from "../db/database.ts"
import type { KeyKind } from "../db/schema.ts"
import type { Principal } from "../http/endpoint.ts"
import { type Awaitable, whenThere } from "../lib/awaitable.ts"
import type { Clock } from "../lib/clock.ts"
import { every } from "../lib/every.ts"
import type { Logger } from "../lib/log.ts"
import { remember } from "../lib/remember.ts"
import type { PlanTable } from "../plans/plans.ts"
import { createKeyCache } from "./cache.ts"
import { hashKey, newKey, readKey, sameHash } from "./format.ts"
import { createNotices } from "./notices.ts"
import { type KeyRow, keyStore, type Owner } from "./store.ts"
import { createWatch } from "./watch.ts"

export { hashKey, newKey } from "./format.ts"
export type { Owner } from "./store.ts"

/** What a new key is for. `parentHash`: the key that it is opened with, and dies with. */
export interface NewKeyOptions extends Owner {
  parentHash?: string | null
  /** Null or left out: never. */
  expiresAt?: number | null
  impersonatedBy?: string | null
}

/** A new key in clear, to be shown once, and the step that stores its hash. */
export interface Issued {
  key: string
  hash: string
  step: Step
}

export interface Keys extends AsyncDisposable {
  /**
   * Whom a key is of; null for a bad, unknown or ended one. `at`: the gateway takes agents' keys and the tokens of
   * `connect`; the API takes all keys and the dashboard's cookies, but no such token.
   */
  authenticate(key: string, at?: "api" | "gateway"): Awaitable<Principal | null>
  /** Aborts when the key is revoked, rotated or ends, and when its user is suspended or deleted. */
  watch(principal: Principal): AbortSignal
  /** Makes this the one administrator's key, in whatever form; all that was opened with another one ends. */
  setAdmin(key: string): Promise<void>
  issue(options: NewKeyOptions): Issued
  /** A new key of the owner; the old ones end now, or after the grace. */
  rotate(owner: Owner, graceMs: number): { key: string; steps: Step[] }
  revokeUser(userId: string): Step
  revokeAgent(userId: string, agentId: string): Step
  /** One key by its hash, with what was opened with it (signing out). `also` goes into the batch. */
  revoke(userId: string | null, hash: string, also?: readonly Step[]): Promise<void>
  /** Every sign-in of an account (null: the administrator's). */
  revokeCookies(userId: string | null, agentId: string | null, also?: readonly Step[]): Promise<void>
  /**
   * Spends a one-time link; null when it was spent, ended or never was. `keyHash` is the account's own key, which what is
   * opened by the link counts as: it ends when that is rotated.
   */
  redeemLink(token: string): Promise<{ userId: string | null; agentId: null; keyHash: string } | null>
  /**
   * Runs a batch that changes keys, or the state or limits of a user (null: the administrator's keys), and ends at once
   * what may no longer go on, here and on the servers that share the database.
   */
  commit<const S extends readonly Step[]>(userId: string | null, steps: S): Promise<BatchRows<S>>
}

const SWEEP_MS = 10 * 60_000

export interface KeysOptions {
  db: Database
  clock: Clock
  plans: PlanTable
  log: Logger
  /** A server has changed keys or the state of this user; told also of our own changes where servers share a database. */
  heard?: (userId: string) => void
}

export function createKeys({ db, clock, plans, log, heard }: KeysOptions): Keys {
  const store = keyStore(db)
  let adminHash = ""

  const find = (hash: string) =>
    whenThere(store.find(hash), (row) => (row === null || !isAlive(row, clock.now()) ? null : row))
  const watch = createWatch({ find, clock, log })
  const cache = createKeyCache()
  /** Goes up with each change: a row that was read before it must not be kept after it. */
  let changes = 0
  const failed = (error: unknown) => log.error("keys in use could not be looked at", { error })
  /** With the administrator's key sign-ins to any account may have been opened: then everything is looked at. */
  function changed(userId: string | null): Promise<void> {
    changes++
    if (userId === null) cache.clear()
    else cache.dropUser(userId)
    return userId === null ? watch.all() : watch.changed(userId)
  }
  const notices = createNotices(db, {
    changed(userId) {
      changed(userId).catch(failed)
      if (userId !== null) heard?.(userId)
    },
    all: () => void changed(null).catch(failed),
  })

  /** On SQLite rows are kept where they are read. */
  function findQuickly(hash: string): Awaitable<KeyRow | null> {
    if (db.dialect === "sqlite" || !notices.areHeard()) return find(hash)
    const known = cache.get(hash)
    if (known !== null) return isAlive(known, clock.now()) ? known : null
    const before = changes
    return whenThere(find(hash), (row) => {
      if (row !== null && before === changes) cache.set(row)
      return row
    })
  }
  const principalOf = remember(
    (row: KeyRow): Principal => ({
      kind: row.agent_id !== null ? "agent" : row.user_id !== null ? "user" : "admin",
      keyHash: row.hash,
      userId: row.user_id,
      agentId: row.agent_id,
      suspended: row.state === "suspended",
      limits: row.tier === null || row.limits === null ? null : plans.limitsOf(row.tier, JSON.parse(row.limits)),
      impersonatedBy: row.impersonated_by,
    }),
  )
  const sweeper = every(
    SWEEP_MS,
    async () => {
      await db.batch(store.sweep(clock.now()))
    },
    (error) => log.error("ended keys could not be removed", { error }),
  )

  const keys: Keys = {
    authenticate(key, at = "api") {
      const { hash, isWellFormed } = readKey(key)
      // The administrator's own key may have any form; a typo in all others needs no look-up.
      if (!isWellFormed && !sameHash(hash, adminHash)) return null
      return whenThere(findQuickly(hash), (row) => (row !== null && opens(row.kind, at) ? principalOf(row) : null))
    },
    watch: (principal) => watch.signal(principal),
    async setAdmin(key) {
      const hash = hashKey(key)
      const owner: Owner = { kind: "admin", userId: null, agentId: null }
      await keys.commit(null, [...store.revoke(owner, hash), store.keep(rowOf(owner, hash, clock.now()))])
      adminHash = hash
    },
    issue(options) {
      const key = newKey(options.kind, clock.now())
      const hash = hashKey(key)
      return { key, hash, step: store.insert(rowOf(options, hash, clock.now())) }
    },
    rotate(owner, graceMs) {
      const { key, step } = keys.issue(owner)
      const end = graceMs > 0 ? [store.expire(owner, clock.now() + graceMs)] : store.revoke(owner)
      return { key, steps: [...end, step] }
    },
    revokeUser: (userId) => store.ofUser(userId),
    revokeAgent: (userId, agentId) => store.ofAgent(userId, agentId),
    async revoke(userId, hash, also = []) {
      await keys.commit(userId, [...store.revokeOne(hash), ...also])
    },
    async revokeCookies(userId, agentId, also = []) {
      await keys.commit(userId, [...store.revoke({ kind: "cookie", userId, agentId }), ...also])
    },
    async redeemLink(token) {
      const { hash, isWellFormed } = readKey(token)
      if (!isWellFormed) return null
      const [[row]] = await db.batch([store.takeLink(hash, clock.now())])
      if (row === undefined) return null
      const userId = row.user_id
      const own = await store.current({ kind: userId === null ? "admin" : "user", userId, agentId: null })
      return own === undefined ? null : { userId, agentId: null, keyHash: own.hash }
    },
    async commit(userId, steps) {
      const rows = await db.batch<readonly Step[]>([...steps, ...notices.steps(userId)])
      await changed(userId)
      return rows.slice(0, steps.length) as BatchRows<typeof steps>
    },
    async [Symbol.asyncDispose]() {
      await sweeper[Symbol.asyncDispose]()
      await notices[Symbol.asyncDispose]()
      await watch[Symbol.asyncDispose]()
    },
  }
  return keys
}

function rowOf(options: NewKeyOptions, hash: string, now: number) {
  return {
    hash,
    kind: options.kind,
    user_id: options.userId,
    agent_id: options.agentId,
    parent_hash: options.parentHash ?? null,
    created_at: now,
    expires_at: options.expiresAt ?? null,
    impersonated_by: options.impersonatedBy ?? null,
  }
}

function opens(kind: KeyKind, at: "api" | "gateway"): boolean {
  return at === "gateway" ? kind === "agent" || kind === "gateway" : kind !== "gateway" && kind !== "link"
}

/** Neither the key nor one that it was opened with is gone or has ended, and its user stands. */
function isAlive(row: KeyRow, now: number): boolean {
  const ended = (at: number | null) => at !== null && at <= now
  if (row.user_id !== null && (row.state === null || row.state === "deleting")) return false
  if (ended(row.expires_at) || ended(row.parent_expires_at) || ended(row.grandparent_expires_at)) return false
  if (row.parent_hash !== null && row.parent_found === null) return false
  return row.grandparent_hash === null || row.grandparent_found !== null
}
