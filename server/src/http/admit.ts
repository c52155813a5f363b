import { NAME_PATTERN } from "@autonomis/contract/common.ts"
import type { Access, Endpoint } from "@autonomis/contract/endpoint.ts"
import { type Awaitable, whenThere } from "../lib/awaitable.ts"
import { AppError } from "../lib/errors.ts"
import type { AgentRef, Directory, Principal, UserRef } from "./endpoint.ts"

export interface Admitted {
  principal: Principal | null
  user: UserRef | null
  agent: AgentRef | null
}

export const NOBODY: Admitted = { principal: null, user: null, agent: null }

export const unauthorized = (cause?: unknown): AppError =>
  new AppError("unauthorized", "missing or invalid API key", { cause })
const noUser = (): AppError => new AppError("not_found", "user not found")
const noAgent = (): AppError => new AppError("not_found", "agent not found")
const forbidden = (): AppError => new AppError("forbidden", "this API key may not do that")

/** What a request is about, before anything of it is checked. */
export interface Target {
  /** Null where nothing stands at that path and method. */
  route: Endpoint | null
  /** What stands at that path for other methods. */
  siblings: readonly Endpoint[]
  /** Under the gateway, which takes no other keys than agents'. */
  isGateway: boolean
  userName: string | undefined
  agentName: string | undefined
}

/**
 * The checks that come before a body is read, in the contract's order: key (401), user and agent in the path (404),
 * role (403).
 */
export function admit(directory: Directory, principal: Principal | null, target: Target): Awaitable<Admitted> {
  if (principal === null) throw unauthorized()
  const { userName, agentName } = target
  if (userName === undefined) return enter(principal, target, null, null)
  // Looked up also for those who may not see it, so that the answer takes the same time.
  return whenThere(directory.user(findable(userName)), (user) => {
    if (user === null || (principal.kind !== "admin" && principal.userId !== user.id)) throw noUser()
    if (agentName === undefined) return enter(principal, target, user, null)
    return whenThere(directory.agent(user.id, findable(agentName)), (agent) => {
      if (agent === null || (principal.kind === "agent" && principal.agentId !== agent.id)) throw noAgent()
      return enter(principal, target, user, agent)
    })
  })
}

function enter(principal: Principal, target: Target, user: UserRef | null, agent: AgentRef | null): Admitted {
  if (principal.suspended && target.route?.id !== "users.get")
    throw new AppError("suspended", "this account is suspended")
  if (!mayEnter(principal, target, user, agent)) throw forbidden()
  return { principal, user, agent }
}

/** A name that nobody can have stands for one that breaks the rules: it is not found, as slowly as any other. */
const findable = (name: string): string => (NAME_PATTERN.test(name) ? name : "-")

function mayEnter(
  principal: Principal,
  { route, siblings, isGateway }: Target,
  user: UserRef | null,
  agent: AgentRef | null,
): boolean {
  if (route !== null) return may(route.access, principal, agent)
  // An agent's key may do what the contract lists and nothing else, also where nothing stands; the gateway is its own.
  if (principal.kind === "agent" && user !== null && !isGateway) return false
  return siblings.length === 0 || siblings.some(({ access }) => may(access, principal, agent))
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
