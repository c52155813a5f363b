import { auditStep } from "../audit/audit.ts"
import type { Database } from "../db/database.ts"
import { isSignIn } from "../http/credentials.ts"
import type { Origin, Principal, UserRef } from "../http/endpoint.ts"
import type { Keys, NewKeyOptions } from "../keys/keys.ts"
import type { Clock } from "../lib/clock.ts"

/** How long a sign-in lasts at most. */
export const SIGN_IN_SECONDS = 30 * 24 * 3600
const LINK_MS = 10 * 60_000
const IMPERSONATION_MS = 3600_000

/** A fresh sign-in: the cookie's value and how long it counts. */
export interface SignedIn {
  cookie: string
  maxAgeSeconds: number
}

/** The sign-ins that a browser holds: the one that counts, and an administrator's own beside it. */
export interface Cookies {
  now: string | null
  kept: string | null
}

export interface SignIn {
  /** Null for a bad key. The sign-in dies with the key. */
  withKey(key: string, origin: Origin): Promise<SignedIn | null>
  /** Null for a link that was used, is too old, or never was. The sign-in dies with the account's key, as if opened with it. */
  withLink(token: string, origin: Origin): Promise<SignedIn | null>
  /** A token that signs the user in, once. */
  link(user: UserRef, principal: Principal, origin: Origin): Promise<{ token: string; expiresAt: number }>
  /** As `link`, for the administrator: printed at a start on which there is nobody yet. */
  adminLink(): Promise<{ token: string; expiresAt: number }>
  impersonate(user: UserRef, principal: Principal, origin: Origin): Promise<SignedIn>
  /**
   * Back to the administrator's own sign-in, which was `kept` while they looked at an account; ends the looking `now`, if
   * it goes on. Null when nothing was kept, or it has ended meanwhile.
   */
  comeBack(cookies: Cookies, origin: Origin): Promise<SignedIn | null>
  /** Of an administrator who looks at an account: their own sign-in ends too, as whoever leaves the browser expects. */
  signOut(principal: Principal, everywhere: boolean, kept: string | null, origin: Origin): Promise<void>
}

/** Who a key belongs to, as far as a sign-in repeats it. */
type Account = Pick<Principal, "userId" | "agentId" | "impersonatedBy">

export function createSignIn({ db, keys, clock }: { db: Database; keys: Keys; clock: Clock }): SignIn {
  const audit = (origin: Origin, userId: string | null, action: string, target: string) =>
    auditStep(db, origin, { userId, action, target }, clock.now())

  /** As the audit names an account: `user:ada`, `agent:ada/manager`, `admin`. */
  async function nameOf({ userId, agentId }: Account): Promise<string> {
    if (userId === null) return "admin"
    const user = await db.read.selectFrom("users").select("name").where("id", "=", userId).executeTakeFirst()
    const name = user?.name ?? userId
    if (agentId === null) return `user:${name}`
    const agent = await db.read.selectFrom("agents").select("name").where("id", "=", agentId).executeTakeFirst()
    return `agent:${name}/${agent?.name ?? agentId}`
  }

  async function open(account: Account, parentHash: string | null, lastsMs: number, origin: Origin, action: string) {
    const { userId, agentId, impersonatedBy } = account
    const options: NewKeyOptions = {
      kind: "cookie",
      userId,
      agentId,
      parentHash,
      expiresAt: clock.now() + lastsMs,
      impersonatedBy,
    }
    const { key, step } = keys.issue(options)
    await keys.commit(userId, [step, audit(origin, userId, action, await nameOf(account))])
    return { cookie: key, maxAgeSeconds: Math.floor(lastsMs / 1000) }
  }

  /** An administrator's own sign-in, by the cookie that it was set aside in. */
  async function keptAdmin(kept: string | null): Promise<Principal | null> {
    const principal = kept === null ? null : await keys.authenticate(kept, "api")
    return principal?.kind === "admin" ? principal : null
  }

  return {
    async withKey(key, origin) {
      // A sign-in opens no other: in a row, they would outlive the key that the first one was opened with.
      const principal = isSignIn(key) ? null : await keys.authenticate(key, "api")
      if (principal === null) return null
      const as = { ...origin, actor: await nameOf(principal) }
      return await open(principal, principal.keyHash, SIGN_IN_SECONDS * 1000, as, "session.create")
    },
    async withLink(token, origin) {
      const account = await keys.redeemLink(token)
      if (account === null) return null
      const whole = { ...account, impersonatedBy: null }
      const as = { ...origin, actor: await nameOf(whole) }
      return await open(whole, account.keyHash, SIGN_IN_SECONDS * 1000, as, "session.create")
    },
    async link(user, principal, origin) {
      const expiresAt = clock.now() + LINK_MS
      const parentHash = principal.keyHash
      const { key, step } = keys.issue({ kind: "link", userId: user.id, agentId: null, parentHash, expiresAt })
      await keys.commit(user.id, [step, audit(origin, user.id, "users.signInLink", `user:${user.name}`)])
      return { token: key, expiresAt }
    },
    async adminLink() {
      const expiresAt = clock.now() + LINK_MS
      const { key, step } = keys.issue({ kind: "link", userId: null, agentId: null, parentHash: null, expiresAt })
      await keys.commit(null, [step])
      return { token: key, expiresAt }
    },
    impersonate: (user, principal, origin) =>
      open(
        { userId: user.id, agentId: null, impersonatedBy: "admin" },
        principal.keyHash,
        IMPERSONATION_MS,
        origin,
        "users.impersonate",
      ),
    async comeBack({ now, kept }, origin) {
      if (kept === null || (await keptAdmin(kept)) === null) return null
      const looking = now === null ? null : await keys.authenticate(now, "api")
      if (looking !== null && looking.impersonatedBy !== null) {
        const as = { ...origin, actor: "admin" }
        const step = audit(as, looking.userId, "session.return", await nameOf(looking))
        await keys.revoke(looking.userId, looking.keyHash, [step])
      }
      return { cookie: kept, maxAgeSeconds: SIGN_IN_SECONDS }
    },
    async signOut(principal, everywhere, kept, origin) {
      const { userId, agentId, keyHash, impersonatedBy } = principal
      const name = await nameOf(principal)
      const as = { ...origin, actor: impersonatedBy === null ? name : `${impersonatedBy} as ${name}` }
      const step = audit(as, userId, "session.delete", name)
      // Who only looks at an account does not sign its owner out.
      if (everywhere && impersonatedBy === null) await keys.revokeCookies(userId, agentId, [step])
      else await keys.revoke(userId, keyHash, [step])
      const admin = impersonatedBy === null ? null : await keptAdmin(kept)
      if (admin !== null) await (everywhere ? keys.revokeCookies(null, null) : keys.revoke(null, admin.keyHash))
    },
  }
}
