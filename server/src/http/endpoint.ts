import type { BodyOf, Endpoint, ParamsOf, QueryOf } from "@autonomis/contract/endpoint.ts"
import type { Limits } from "@autonomis/contract/plans.ts"
import type { FastifyReply, FastifyRequest } from "fastify"
import type { z } from "zod"
import type { Step } from "../db/database.ts"
import type { Awaitable } from "../lib/awaitable.ts"

/** Who calls, as their key says. A dashboard's cookie counts as the key it was opened with. */
export interface Principal {
  kind: "admin" | "user" | "agent"
  /** SHA-256 of the key, hex. */
  keyHash: string
  /** Null for an administrator. */
  userId: string | null
  /** Set for an agent's key alone. */
  agentId: string | null
  suspended: boolean
  limits: Limits | null
  /** An administrator who looks at an account as its user. */
  impersonatedBy: string | null
}

/** The user in the path, found once at the edge; everything below uses the opaque id. */
export interface UserRef {
  id: string
  name: string
  tier: string
  state: "active" | "suspended"
  limits: Limits
}

export interface AgentRef {
  id: string
  name: string
}

/** What `http/` asks of the domains. Lookups take the same time whether or not there is something to find. */
export interface Directory {
  /** Whom a key is of; null for a bad, unknown or ended one. The gateway takes other keys than the API. */
  authenticate(key: string, at: "api" | "gateway"): Awaitable<Principal | null>
  user(name: string): Awaitable<UserRef | null>
  agent(userId: string, name: string): Awaitable<AgentRef | null>
  /** Aborts when the key is revoked, expires, or its user is suspended or deleted. */
  watch(principal: Principal): AbortSignal
}

/** Who did something and from where; goes into the audit. */
export interface Origin {
  /** `admin`, `user:ada`, `agent:ada/manager`; `admin as user:ada` for one who looks at an account. */
  actor: string
  ip: string | null
  requestId: string
}

/**
 * What a handler may know of the request's `Idempotency-Key`. The runner keeps and replays whole answers by itself; only
 * who starts a run looks here:
 * - `runId` null: the first request with this key. Put `bindRun(id)` into the batch that makes the run's row.
 * - `runId` set (on endpoints that produce SSE alone): a repeat. Start nothing; stream that run from its beginning.
 */
export interface Idempotency {
  key: string
  runId: string | null
  bindRun(runId: string): Step
}

interface Base<E> {
  /** Null on public endpoints alone. */
  principal: Principal | null
  origin: Origin
  /** Aborts when the client went away or its key died. */
  signal: AbortSignal
  /** Null without an `Idempotency-Key`. */
  idempotency: Idempotency | null
  params: ParamsOf<E>
  query: QueryOf<E>
  body: BodyOf<E>
  /**
   * Tells a caller who asked for events how far the work is; nothing to others. Once something was told the answer, or
   * the error, is the last event: `done` or `error`.
   */
  tell(event: string, data: unknown): void
  request: FastifyRequest
  reply: FastifyReply
}

/** What a handler gets: the checked input, and the user and agent where the path names them. */
export type Context<E> = Base<E> &
  (ParamsOf<E> extends { user: string } ? { user: UserRef } : unknown) &
  (ParamsOf<E> extends { agent: string } ? { agent: AgentRef } : unknown)

/** An answer with another status than the usual one, or with headers. `body` undefined: no content. */
export class Answer<T> {
  readonly status: number
  readonly body: T
  readonly headers: Record<string, string | string[]>
  constructor(status: number, body: T, headers: Record<string, string | string[]> = {}) {
    this.status = status
    this.body = body
    this.headers = headers
  }
}

/** No body is one of these. */
class Sent {
  readonly isSent = true
}

/** The handler wrote to `reply.raw` itself (streams, files). */
export const SENT = new Sent()

export interface Route {
  endpoint: Endpoint
  handle(context: Context<Endpoint>): Awaitable<unknown>
}

/** Ties a handler to its line of the contract. Throws `AppError`s; returns the body, an `Answer`, or `SENT`. */
export function endpoint<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType, A extends z.ZodType>(
  definition: Endpoint<P, Q, B, A>,
  handle: (context: Context<Endpoint<P, Q, B, A>>) => Awaitable<z.output<A> | Answer<z.output<A>> | Sent>,
): Route {
  // The runner parses every input by `definition` before it calls, so the context has the types that it names.
  return { endpoint: definition as unknown as Endpoint, handle: handle as unknown as Route["handle"] }
}
