import { createHash } from "node:crypto"
import type { IncomingHttpHeaders } from "node:http"
import type { Access, Endpoint } from "@autonomis/contract/endpoint.ts"
import { AppError } from "../lib/errors.ts"
import type { AgentRef, Directory, Principal, UserRef } from "./endpoint.ts"

export const BASE_PATH = "/api/v1"

export interface Admitted {
  principal: Principal | null
  user: UserRef | null
  agent: AgentRef | null
}

export const NOBODY: Admitted = { principal: null, user: null, agent: null }

export const unauthorized = (): AppError => new AppError("unauthorized", "missing or invalid API key")
const noUser = (): AppError => new AppError("not_found", "user not found")
const noAgent = (): AppError => new AppError("not_found", "agent not found")

/** The key of a request: `X-API-Key`, else `Authorization: Bearer`. */
export function keyOf(headers: IncomingHttpHeaders): string | null {
  const direct = headers["x-api-key"]
  if (typeof direct === "string" && direct !== "") return direct
  const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? "")
  return bearer?.[1] ?? null
}

/** The decoded parts of a path below the base path; null when it is not below it. Throws 400 on a path that plays tricks. */
export function segmentsOf(url: string): string[] | null {
  const path = url.split("?", 1)[0] ?? ""
  if (path !== BASE_PATH && !path.startsWith(`${BASE_PATH}/`)) return null
  return path.slice(BASE_PATH.length + 1).split("/")
}

/** `.`, `..`, NUL, a backslash, an encoded slash or a broken escape: never part of a good path. */
export function pathIsValid(url: string): boolean {
  const path = url.split("?", 1)[0] ?? ""
  if (!path.startsWith("/") || path.startsWith("//")) return false
  try {
    return !path
      .slice(1)
      .split("/")
      .map(decodeURIComponent)
      .some((part) => part === "." || part === ".." || /[\0\\/]/.test(part))
  } catch {
    return false
  }
}

/**
 * The checks that come before a body is read, in the contract's order: key (401), user and agent in the path (404),
 * role (403). `route` is null where nothing stands at that path and method.
 */
export async function admit(
  directory: Directory,
  route: Endpoint | null,
  principal: Principal | null,
  segments: readonly string[],
): Promise<Admitted> {
  if (principal === null) throw unauthorized()
  let user: UserRef | null = null
  let agent: AgentRef | null = null
  if (segments[0] === "users" && segments[1]) {
    // Looked up also for those who may not see it, so that the answer takes the same time.
    user = await directory.user(decode(segments[1]))
    if (user === null || (principal.kind !== "admin" && principal.userId !== user.id)) throw noUser()
    if (segments[2] === "agents" && segments[3]) {
      agent = await directory.agent(user.id, decode(segments[3]))
      if (agent === null || (principal.kind === "agent" && principal.agentId !== agent.id)) throw noAgent()
    }
  }
  if (principal.suspended && route?.id !== "users.get") throw new AppError("suspended", "this account is suspended")
  const access: Access = route?.access ?? (agent ? "agent" : user ? "owner" : "any")
  if (!may(access, principal, agent)) throw new AppError("forbidden", "this API key may not do that")
  // An agent's key may do what the reference lists and nothing else, also where nothing stands.
  if (route === null && principal.kind === "agent" && user)
    throw new AppError("forbidden", "this API key may not do that")
  return { principal, user, agent }
}

function may(access: Access, principal: Principal, agent: AgentRef | null): boolean {
  switch (access) {
    case "public":
    case "any":
      return true
    case "platform":
    case "owner-admin":
      return principal.kind === "admin"
    case "owner":
      return principal.kind !== "agent"
    case "agent":
      return principal.kind !== "agent" || agent !== null
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return ""
  }
}

export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex")
}
