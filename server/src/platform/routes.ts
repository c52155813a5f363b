import type { BodyOf } from "@autonomis/contract/endpoint.ts"
import { contract } from "@autonomis/contract/endpoints.ts"
import type { Me } from "@autonomis/contract/platform.ts"
import type { FastifyRequest } from "fastify"
import type { Database } from "../db/database.ts"
import { unauthorized } from "../http/admit.ts"
import { clientAddress } from "../http/client-address.ts"
import { cookieHeader, fromOwnPages, keptCookieName, signInsOf } from "../http/credentials.ts"
import { Answer, endpoint, type Origin, type Principal, type Route } from "../http/endpoint.ts"
import type { RateLimits } from "../http/rate-limit.ts"
import { iso } from "../lib/clock.ts"
import type { Pause } from "./pause.ts"
import { SIGN_IN_SECONDS, type SignedIn, type SignIn } from "./sign-in.ts"
import { platformStatus, type StatusSources } from "./status.ts"

export interface PlatformOptions {
  status: StatusSources
  pause: Pause
  signIn: SignIn
  limits: RateLimits
  /** Without a slash at the end. */
  publicUrl(): string
}

export function platformRoutes({ status, pause, signIn, limits, publicUrl }: PlatformOptions): Route[] {
  const startedAt = status.clock.now()
  const secure = () => publicUrl().startsWith("https:")
  const site = () => new URL(publicUrl())
  const keep = (value: string, maxAgeSeconds: number) =>
    cookieHeader(value, maxAgeSeconds, secure(), keptCookieName(secure()))
  /** Whoever signs in, comes back or signs out: nothing is set aside any more. */
  const withCookie = ({ cookie, maxAgeSeconds }: SignedIn, { headers }: FastifyRequest) => {
    const set = cookieHeader(cookie, maxAgeSeconds, secure())
    const { kept } = signInsOf(headers, site())
    return new Answer(204, undefined, { "Set-Cookie": kept === null ? set : [set, keep("", 0)] })
  }
  const signInBy = (body: BodyOf<typeof contract.platform.signIn>, origin: Origin, { headers }: FastifyRequest) => {
    if ("token" in body) return signIn.withLink(body.token, origin)
    if ("api_key" in body) return signIn.withKey(body.api_key, origin)
    fromOwnPages(headers, site())
    return signIn.comeBack(signInsOf(headers, site()), origin)
  }

  return [
    endpoint(contract.platform.me, async ({ principal }) => await whoIs(status.db, known(principal))),
    endpoint(contract.platform.status, () => platformStatus(status, startedAt)),
    endpoint(contract.platform.pause, async ({ body, origin }) => {
      await pause.set(body.paused, origin)
      return body
    }),
    endpoint(contract.platform.signIn, async ({ body, origin, request }) => {
      const signedIn = await signInBy(body, origin, request)
      if (signedIn !== null) return withCookie(signedIn, request)
      await limits.wrongKey(addressOf(request))
      throw unauthorized()
    }),
    endpoint(contract.platform.signOut, async ({ principal, query, origin, request }) => {
      const everywhere = query.all === "true"
      // A key in a header is no sign-in: it stays, and with `all` it ends the account's sign-ins.
      const byCookie = isByCookie(request)
      const kept = byCookie ? signInsOf(request.headers, site()).kept : null
      if (everywhere || byCookie) await signIn.signOut(known(principal), everywhere, kept, origin)
      return withCookie({ cookie: "", maxAgeSeconds: 0 }, request)
    }),
    endpoint(contract.platform.signInLink, async ({ user, principal, origin }) => {
      const { token, expiresAt } = await signIn.link(user, known(principal), origin)
      // Behind `#`, so that no server and no log on the way sees it.
      return { url: `${publicUrl()}/#token=${token}`, expires_at: iso(expiresAt) }
    }),
    endpoint(contract.platform.impersonate, async ({ user, principal, origin, request }) => {
      const { cookie, maxAgeSeconds } = await signIn.impersonate(user, known(principal), origin)
      const set = cookieHeader(cookie, maxAgeSeconds, secure())
      const { now } = signInsOf(request.headers, site())
      const own = now !== null && isByCookie(request) ? [keep(now, SIGN_IN_SECONDS)] : []
      return new Answer(204, undefined, { "Set-Cookie": [set, ...own] })
    }),
  ]
}

const isByCookie = ({ headers }: FastifyRequest) =>
  headers["x-api-key"] === undefined && headers.authorization === undefined

const addressOf = (request: FastifyRequest) => clientAddress(request.ip, request.socket.remoteAddress) ?? ""

function known(principal: Principal | null): Principal {
  if (principal === null) throw unauthorized()
  return principal
}

async function whoIs(db: Database, { kind, userId, agentId, impersonatedBy }: Principal): Promise<Me> {
  const user =
    userId === null
      ? null
      : await db.read.selectFrom("users").select("name").where("id", "=", userId).executeTakeFirst()
  const agent =
    agentId === null
      ? null
      : await db.read.selectFrom("agents").select("name").where("id", "=", agentId).executeTakeFirst()
  return { kind, user: user?.name ?? null, agent: agent?.name ?? null, impersonated_by: impersonatedBy }
}
