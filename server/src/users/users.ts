import type { Limits } from "@autonomis/contract/plans.ts"
import type { LimitOverrides } from "@autonomis/contract/users.ts"
import { auditStep } from "../audit/audit.ts"
import type { Database, Step } from "../db/database.ts"
import { noSuchUser } from "../db/for-user.ts"
import { lockUser } from "../db/lock-user.ts"
import type { Schema } from "../db/schema.ts"
import type { Origin, UserRef } from "../http/endpoint.ts"
import type { Keys } from "../keys/keys.ts"
import { type Awaitable, whenThere } from "../lib/awaitable.ts"
import { type Clock, iso } from "../lib/clock.ts"
import { decodeCursor, page } from "../lib/cursor.ts"
import { AppError } from "../lib/errors.ts"
import { ids } from "../lib/ids.ts"
import { remember } from "../lib/remember.ts"
import type { PlanTable } from "../plans/plans.ts"
import { askEnders, type Ender } from "./ender.ts"
import type { Purge } from "./purge.ts"
import { type NamedRow, userStore } from "./store.ts"

export { askEnders, type Ender } from "./ender.ts"

/** A user as the API shows it, but for the agents. */
export interface UserView {
  user: string
  email: string | null
  display_name: string | null
  tier: string
  state: "active" | "suspended"
  limits: Limits
  created_at: string
}

export interface UserSummaryView extends Omit<UserView, "limits"> {
  agent_count: number
}

export interface NewUser {
  user: string
  email?: string | null | undefined
  display_name?: string | null | undefined
  tier?: string | undefined
}

export interface Users {
  byName(name: string): Awaitable<UserRef | null>
  create(input: NewUser, origin: Origin): Promise<UserView & { api_key: string }>
  list(query: {
    limit: number
    cursor?: string | undefined
    q?: string | undefined
  }): Promise<{ users: UserSummaryView[]; next_cursor: string | null }>
  get(userId: string): Promise<UserView>
  setTier(user: UserRef, tier: string, origin: Origin): Promise<UserView>
  setLimits(user: UserRef, overrides: LimitOverrides, origin: Origin): Promise<UserView>
  setState(user: UserRef, state: "active" | "suspended", reason: string | undefined, origin: Origin): Promise<UserView>
  /**
   * The name is free at once and nothing of the user can write any more; resolves when all that ran is seen stopped and
   * the files are out of reach. Rows and files are removed after that.
   */
  delete(user: UserRef, origin: Origin): Promise<void>
  /** Another server may have suspended or deleted the user: stops here too what may no longer go on. */
  followUp(userId: string): Promise<void>
  /** Null when the user is gone or going. */
  limits(userId: string): Promise<Limits | null>
  tiersInUse(): Promise<string[]>
  rotateKey(user: UserRef, graceSeconds: number, origin: Origin): Promise<{ api_key: string }>
  /** The first step of a batch that counts what the user has: until it commits nobody else adds to it. */
  lock(user: UserRef): Step
}

export interface UsersOptions {
  db: Database
  clock: Clock
  plans: PlanTable
  keys: Keys
  purge: Pick<Purge, "stopUser" | "kick">
  enders: readonly Ender[]
}

export function createUsers({ db, clock, plans, keys, purge, enders }: UsersOptions): Users {
  const store = userStore(db)
  const audit = (origin: Origin, user: Pick<UserRef, "id" | "name">, action: string) =>
    auditStep(db, origin, { userId: user.id, action, target: `user:${user.name}` }, clock.now())
  const ownKey = (userId: string) => ({ kind: "user", userId, agentId: null }) as const

  const view = (row: Readonly<Schema["users"]>): UserView => ({
    user: row.name ?? "",
    email: row.email,
    display_name: row.display_name,
    tier: row.tier,
    state: row.state === "suspended" ? "suspended" : "active",
    limits: plans.limitsOf(row.tier, JSON.parse(row.limits)),
    created_at: iso(row.created_at),
  })
  const get = async (userId: string) => {
    const row = await store.byId(userId)
    if (row === null) throw noSuchUser()
    return view(row)
  }
  const knownTier = (tier: string) => {
    if (plans.has(tier)) return tier
    const message = `there is no tier ${JSON.stringify(tier)}; GET /plans lists them`
    throw new AppError("invalid_request", message, { details: [{ path: "tier", message }] })
  }

  const refOf = remember(({ id, name, tier, state, limits }: NamedRow): UserRef | null => {
    if (name === null || state === "deleting") return null
    return { id, name, tier, state, limits: plans.limitsOf(tier, JSON.parse(limits)) }
  })

  return {
    byName: (name) => whenThere(store.byName(name), (row) => (row === null ? null : refOf(row))),

    async create(input, origin) {
      const now = clock.now()
      const row: Schema["users"] = {
        id: ids.user(),
        name: input.user,
        email: input.email ?? null,
        display_name: input.display_name ?? null,
        tier: knownTier(input.tier ?? plans.defaultTier),
        state: "active",
        state_reason: null,
        limits: "{}",
        created_at: now,
      }
      const { key, step } = keys.issue(ownKey(row.id))
      const taken = () => new AppError("conflict", `the user ${JSON.stringify(input.user)} exists already`)
      await db.batch([store.insert(row, taken), step, audit(origin, { id: row.id, name: input.user }, "users.create")])
      return { ...view(row), api_key: key }
    },

    async list({ limit, cursor, q }) {
      const after = decodeCursor(cursor, ["string"])?.[0] ?? null
      const found = await store.list({ after, limit: limit + 1, q: q ?? null })
      const { rows, nextCursor } = page(found, limit, (row) => [row.name ?? ""])
      return {
        users: rows.map((row) => ({
          user: row.name ?? "",
          email: row.email,
          display_name: row.display_name,
          tier: row.tier,
          state: row.state === "suspended" ? "suspended" : "active",
          agent_count: row.agent_count ?? 0,
          created_at: iso(row.created_at),
        })),
        next_cursor: nextCursor,
      }
    },

    get,

    async setTier(user, tier, origin) {
      const { agents } = plans.limitsOf(knownTier(tier), {})
      const tooMany = () =>
        new AppError("conflict", `the user has more than the ${agents} agents that the tier ${tier} allows`, {
          extra: { limit: "agents", max: agents },
        })
      await keys.commit(user.id, [
        lockUser(db, user.id),
        store.setTier(user.id, tier, agents, tooMany),
        audit(origin, user, "users.setTier"),
      ])
      return get(user.id)
    },

    async setLimits(user, overrides, origin) {
      await keys.commit(user.id, [
        store.change(user.id, { limits: JSON.stringify(overrides) }),
        audit(origin, user, "users.setLimits"),
      ])
      return get(user.id)
    },

    async setState(user, state, reason, origin) {
      await keys.commit(user.id, [
        store.change(user.id, { state, state_reason: state === "suspended" ? (reason ?? null) : null }),
        audit(origin, user, state === "suspended" ? "users.suspend" : "users.activate"),
      ])
      if (state === "suspended") await askEnders(enders, (ender) => ender.suspendUser?.(user.id))
      return get(user.id)
    },

    async delete(user, origin) {
      await keys.commit(user.id, [
        ...store.startDeletion(user.id),
        keys.revokeUser(user.id),
        audit(origin, user, "users.delete"),
      ])
      await purge.stopUser(user.id)
      purge.kick()
    },

    async followUp(userId) {
      const state = await store.stateOf(userId)
      if (state === "active") return
      await askEnders(enders, (ender) =>
        state === "suspended" ? ender.suspendUser?.(userId) : ender.endUser?.(userId),
      )
    },

    async limits(userId) {
      const row = await store.planOf(userId)
      return row === null ? null : plans.limitsOf(row.tier, JSON.parse(row.limits))
    },

    tiersInUse: () => store.tiersInUse(),

    async rotateKey(user, graceSeconds, origin) {
      const { key, steps } = keys.rotate(ownKey(user.id), graceSeconds * 1000)
      await keys.commit(user.id, [lockUser(db, user.id), ...steps, audit(origin, user, "users.rotateKey")])
      return { api_key: key }
    },

    lock: (user) =>
      lockUser(db, user.id, { tier: user.tier }, () => new AppError("conflict", "the account was changed meanwhile")),
  }
}
