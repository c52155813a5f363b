import type { Endpoint } from "@autonomis/contract/endpoint.ts"
import type { FastifyReply, FastifyRequest } from "fastify"
import { type Admitted, NOBODY } from "./admit.ts"
import { clientAddress } from "./client-address.ts"
import type { Context, Directory, Idempotency, Origin, Principal } from "./endpoint.ts"
import { asksForEvents, openSse, type SseStream } from "./sse.ts"

type Input = Pick<Context<Endpoint>, "params" | "query" | "body">

/**
 * What a handler gets. A class, because most handlers never ask for its signal or origin: getters in an object literal
 * would give every request a hidden class of its own, which outlives it and keeps its garbage alive.
 */
export class RequestContext implements Context<Endpoint>, Admitted {
  readonly principal: Principal | null
  readonly user: Admitted["user"]
  readonly agent: Admitted["agent"]
  readonly params: Input["params"]
  readonly query: Input["query"]
  readonly body: Input["body"]
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  idempotency: Idempotency | null = null
  readonly #directory: Directory
  #signal: AbortSignal | null = null
  #told: SseStream | null = null

  constructor(directory: Directory, request: FastifyRequest, reply: FastifyReply, { params, query, body }: Input) {
    const { principal, user, agent } = request.admitted ?? NOBODY
    this.principal = principal
    this.user = user
    this.agent = agent
    this.params = params
    this.query = query
    this.body = body
    this.request = request
    this.reply = reply
    this.#directory = directory
  }

  get origin(): Origin {
    const { principal, user, agent, request } = this
    const ip = clientAddress(request.ip, request.socket.remoteAddress)
    return { actor: actorOf(principal, user?.name, agent?.name), ip, requestId: request.id }
  }

  get signal(): AbortSignal {
    this.#signal ??= signalOf(this.#directory, this.principal, this.reply)
    return this.#signal
  }

  tell(event: string, data: unknown): void {
    if (!asksForEvents(this.request)) return
    this.#told ??= openSse(this)
    this.#told.send(null, event, data)
  }

  /** The stream that `tell` opened. */
  get told(): SseStream | null {
    return this.#told
  }

  /** Has someone asked for the signal, and has it aborted since? */
  get wasAborted(): boolean {
    return this.#signal?.aborted === true
  }
}

/** Aborts when the client is gone before its answer was sent, or its key died. */
function signalOf(directory: Directory, principal: Principal | null, reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  const onClose = () => {
    if (!reply.raw.writableFinished) gone.abort()
  }
  if (reply.raw.closed) onClose()
  else reply.raw.once("close", onClose)
  return principal ? AbortSignal.any([gone.signal, directory.watch(principal)]) : gone.signal
}

function actorOf(principal: Principal | null, user: string | undefined, agent: string | undefined): string {
  if (principal === null) return "nobody"
  const name = user ?? principal.userId ?? "?"
  switch (principal.kind) {
    case "admin":
      return "admin"
    case "user":
      return principal.impersonatedBy === null ? `user:${name}` : `${principal.impersonatedBy} as user:${name}`
    case "agent":
      return `agent:${name}/${agent ?? principal.agentId ?? "?"}`
  }
}
