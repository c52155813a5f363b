import { isDeepStrictEqual } from "node:util"
import type { Endpoint } from "@autonomis/contract/endpoint.ts"
import type { FastifyReply, FastifyRequest } from "fastify"
import { AppError } from "../lib/errors.ts"
import type { Logger } from "../lib/log.ts"
import { remember } from "../lib/remember.ts"
import type { AccessLog } from "./access-log.ts"
import { NOBODY, unauthorized } from "./admit.ts"
import { rawBody } from "./bodies.ts"
import { RequestContext } from "./context.ts"
import { Answer, type Directory, type Idempotency, type Route, SENT } from "./endpoint.ts"
import type { Claim, IdempotencyStore, KeptAnswer } from "./idempotency.ts"
import { endWithAnswer } from "./large-bodies.ts"
import { parse } from "./parse.ts"
import { rateError } from "./rate-limit.ts"
import { etagOf, sendAnswer } from "./send.ts"
import { logFault, publicError, toAppError } from "./send-error.ts"

export interface RunnerOptions {
  directory: Directory
  log: Logger
  idempotency: IdempotencyStore | null
  /** Compare each answer with the contract (tests and development): a difference is a 500. */
  checkAnswers: boolean
  accessLog: AccessLog | null
}

/** From an admitted request to its answer: input by the contract, then limits, then the handler. */
export async function run(
  route: Route,
  options: RunnerOptions,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  const { endpoint } = route
  if (request.large !== null) endWithAnswer(request.large, reply)
  const context = new RequestContext(options.directory, request, reply, {
    params: paramsOf(endpoint, request),
    query: queryOf(endpoint, request),
    body: bodyOf(endpoint, request),
  })
  const hasKey = request.headers["idempotency-key"] !== undefined
  const claim = hasKey ? await claimKey(options.idempotency, endpoint, request, () => context.signal) : null
  if (claim?.kind === "replay") {
    reply.header("Idempotent-Replayed", "true")
    return await sendAndRecord(options, claim.answer, request, reply)
  }
  if (claim?.kind === "run") reply.header("Idempotent-Replayed", "true")
  if (claim) context.idempotency = handleOf(claim, request)
  const first = claim?.kind === "first" ? claim : null
  try {
    if (request.allowance?.refused) throw rateError(request.allowance)
    const made = route.handle(context)
    const result = made instanceof Promise ? await made : made
    if (result === SENT) {
      options.accessLog?.recordAtEnd(request, reply)
      await first?.release()
      return reply
    }
    const answer = answerOf(endpoint, result, options.checkAnswers)
    if (first) await first.finish(answer)
    if (context.told !== null) {
      context.told.send(null, "done", JSON.parse(answer.body ?? "null"))
      context.told.close()
      options.accessLog?.recordAtEnd(request, reply)
      return reply
    }
    const others = endOfTurn()
    if (others !== null) await others
    return await sendAndRecord(options, answer, request, reply)
  } catch (thrown) {
    // What an abort breaks off is no fault of ours: the client is gone, or its key died under way.
    const error = context.wasAborted && !(thrown instanceof AppError) ? unauthorized(thrown) : thrown
    const { status, body } = publicError(toAppError(error))
    if (reply.sent) options.accessLog?.recordAtEnd(request, reply)
    if (!reply.sent || context.told !== null) await first?.finish({ status, headers: {}, body: JSON.stringify(body) })
    else await first?.release()
    if (context.told === null) throw error
    logFault(options.log, error, request)
    context.told.send(null, "error", inEvent(toAppError(error)))
    context.told.close()
    return reply
  }
}

async function sendAndRecord(
  { accessLog }: RunnerOptions,
  answer: KeptAnswer & { etag?: string },
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const sending = sendAnswer(answer, request, reply)
  if (sending) await sending
  accessLog?.record(request, reply)
  return reply
}

/** An error where no status is sent: with it, and always with its code. */
function inEvent(error: AppError): Record<string, unknown> {
  const { status, body } = publicError(error)
  const { retryAfterSeconds: seconds } = error
  const later = seconds === undefined ? {} : { retry_after_seconds: seconds }
  return { status, code: status < 500 ? error.code : "internal", ...later, ...body }
}

/** Nearly every request has none, and what a schema makes of none is always the same. */
const noQuery = remember((endpoint: Endpoint) => {
  const result = endpoint.query.safeParse({})
  return result.success ? Object.freeze(result.data) : null
})

function queryOf(endpoint: Endpoint, request: FastifyRequest): Record<string, unknown> {
  const known = request.url.includes("?") ? null : noQuery(endpoint)
  return known ?? parse(endpoint.query, request.query, "the query")
}

/** A user and an agent that were found by their names have names that are in order. */
const namesFoundAlone = remember((endpoint: Endpoint) =>
  Object.keys(endpoint.params.shape).every((name) => name === "user" || name === "agent"),
)

function paramsOf(endpoint: Endpoint, request: FastifyRequest): Record<string, unknown> {
  const params = pathParams(endpoint, request)
  if (request.admitted !== null && namesFoundAlone(endpoint)) return params
  return parse(endpoint.params, params, "the path")
}

function pathParams(endpoint: Endpoint, request: FastifyRequest): Record<string, string> {
  const params = request.params as Record<string, string>
  if (!endpoint.path.endsWith("*}")) return params
  const { "*": rest, ...named } = params
  const name = /\{(\w+)\*\}/.exec(endpoint.path)?.[1]
  return name === undefined ? named : { ...named, [name]: rest ?? "" }
}

function bodyOf(endpoint: Endpoint, request: FastifyRequest): unknown {
  switch (endpoint.bodyKind) {
    case "raw":
      return rawBody(request, endpoint.maxBodyBytes)
    case "none": {
      const fields = Object.keys(request.body ?? {})
      if (fields.length === 0) return undefined
      const details = fields.slice(0, 20).map((path) => ({ path: path.slice(0, 300), message: "unknown field" }))
      throw new AppError("invalid_request", "this call takes no body", { details })
    }
    case "json":
      if (request.body === undefined && !endpoint.bodyOptional)
        throw new AppError("invalid_request", "the body must be a JSON object")
      return parse(endpoint.body, request.body ?? (request.body === null ? null : {}), "the body")
  }
}

async function claimKey(
  store: IdempotencyStore | null,
  endpoint: Endpoint,
  request: FastifyRequest,
  signal: () => AbortSignal,
): Promise<Claim | null> {
  const { principal, user } = request.admitted ?? NOBODY
  const key = request.headers["idempotency-key"]
  if (store === null || principal === null || endpoint.method !== "POST") return null
  const input = {
    principal,
    method: endpoint.method,
    path: request.url.split("?", 1)[0] ?? "",
    key: String(key),
    body: [request.query, request.large?.sha256 ?? request.body],
    joins: endpoint.produces === "sse",
    userId: user?.id ?? null,
  }
  return await store.claim(input, signal())
}

function handleOf(claim: Exclude<Claim, { kind: "replay" }>, request: FastifyRequest): Idempotency {
  const key = String(request.headers["idempotency-key"])
  if (claim.kind === "first") return { key, runId: null, bindRun: claim.bindRun }
  return {
    key,
    runId: claim.runId,
    bindRun() {
      throw new Error("a repeat starts no run")
    },
  }
}

function answerOf(endpoint: Endpoint, result: unknown, check: boolean): KeptAnswer & { etag?: string } {
  const { status, body, headers } = result instanceof Answer ? result : new Answer(endpoint.statuses[0], result)
  if (check) checkAnswer(endpoint, status, body)
  if (Object.isFrozen(body) && typeof body === "object" && body !== null)
    return { status, headers, ...textOfFrozen(body) }
  return { status, headers, body: body === undefined ? null : JSON.stringify(body) }
}

/** An answer that nobody can change any more may be given again: its text is made once. */
const textOfFrozen = remember((frozen: object) => {
  const body = JSON.stringify(frozen)
  return { body, etag: etagOf(body) }
})

/** Throws where an answer is not what the contract says: another status, a field missing, wrong, or beyond it. */
export function checkAnswer(endpoint: Endpoint, status: number, body: unknown): void {
  if (!endpoint.statuses.includes(status)) throw new Error(`${endpoint.id} answered ${status}, which it does not name`)
  const sent: unknown = body === undefined ? undefined : JSON.parse(JSON.stringify(body))
  const parsed = endpoint.answer.safeParse(sent)
  if (!parsed.success) throw new Error(`${endpoint.id} answers against the contract`, { cause: parsed.error })
  if (!isDeepStrictEqual(parsed.data, sent)) throw new Error(`${endpoint.id} answers with fields beyond the contract`)
}

/** In how much company an answer waits for the others. Few wake their readers each anyway, and would wait for nothing. */
const MANY = 4
let turn: Promise<void> | null = null
let answers = 0
let answersBefore = 0

/**
 * When all that had come in with this request was looked at; null where the last turn had few answers. Answers that leave
 * one right after the other wake whoever reads them (a proxy, most of all) once instead of each time, which costs as much
 * as the rest of a small request.
 */
function endOfTurn(): Promise<void> | null {
  answers++
  turn ??= new Promise((resolve) =>
    setImmediate(() => {
      answersBefore = answers
      answers = 0
      turn = null
      resolve()
    }),
  )
  return answersBefore < MANY ? null : turn
}
