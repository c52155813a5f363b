import type { IncomingHttpHeaders } from "node:http"
import { AppError } from "../lib/errors.ts"

/** A sign-in's token counts in the cookie alone, and nothing else counts there. */
const COOKIE_KEY = "atn_cookie_"

export const isSignIn = (key: string): boolean => key.startsWith(COOKIE_KEY)

const READS = new Set(["GET", "HEAD", "OPTIONS"])

/** The dashboard's cookie. Under https its name makes browsers take it from this host over https alone. */
export const cookieName = (secure: boolean): string => (secure ? "__Host-autonomis" : "autonomis")

/** Where an administrator's own sign-in waits while they look at an account. It opens nothing by itself. */
export const keptCookieName = (secure: boolean): string => `${cookieName(secure)}-admin`

export function cookieHeader(
  value: string,
  maxAgeSeconds: number,
  secure: boolean,
  name: string = cookieName(secure),
): string {
  const parts = [`${name}=${value}`, "Path=/", `Max-Age=${maxAgeSeconds}`, "HttpOnly", "SameSite=Strict"]
  return [...parts, ...(secure ? ["Secure"] : [])].join("; ")
}

/**
 * The key that a request came with; null without one, "" for one that cannot count here. Throws 403 for a write with the
 * cookie from another site's page.
 */
export function keyOf(method: string, headers: IncomingHttpHeaders, publicUrl: URL): string | null {
  const direct = headers["x-api-key"]
  const key = typeof direct === "string" && direct !== "" ? direct : bearerOf(headers)
  if (key !== null) return isSignIn(key) ? "" : key
  const cookie = cookieOf(headers.cookie, cookieName(publicUrl.protocol === "https:"))
  if (cookie === null) return null
  if (!isSignIn(cookie)) return ""
  if (!READS.has(method)) fromOwnPages(headers, publicUrl)
  return cookie
}

/** Throws 403 for what another site's page had a browser send. */
export function fromOwnPages(headers: IncomingHttpHeaders, publicUrl: URL): void {
  if (!isSameOrigin(headers, publicUrl))
    throw new AppError("forbidden", "a change with the dashboard's cookie must come from the dashboard's own pages")
}

/** The two sign-ins of a browser, whichever counts now. Null for one that is not there. */
export function signInsOf(headers: IncomingHttpHeaders, publicUrl: URL): { now: string | null; kept: string | null } {
  const secure = publicUrl.protocol === "https:"
  const read = (name: string) => {
    const value = cookieOf(headers.cookie, name)
    return value !== null && isSignIn(value) ? value : null
  }
  return { now: read(cookieName(secure)), kept: read(keptCookieName(secure)) }
}

function bearerOf(headers: IncomingHttpHeaders): string | null {
  return /^Bearer +(\S+) *$/i.exec(headers.authorization ?? "")?.[1] ?? null
}

function cookieOf(header: string | undefined, name: string): string | null {
  for (const part of header?.split(";") ?? []) {
    const at = part.indexOf("=")
    if (part.slice(0, at).trim() === name) return part.slice(at + 1).trim()
  }
  return null
}

/** A browser cannot be made to lie about `Host` for a page of another site. */
function isSameOrigin(headers: IncomingHttpHeaders, publicUrl: URL): boolean {
  const { origin, host } = headers
  if (origin === undefined) return false
  if (origin === publicUrl.origin) return true
  return host !== undefined && URL.canParse(origin) && new URL(origin).host === host
}
