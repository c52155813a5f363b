import { isUtf8 } from "node:buffer"
import type { Endpoint } from "@autonomis/contract/endpoint.ts"
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify"
import { AppError } from "../lib/errors.ts"
import { ids } from "../lib/ids.ts"
import type { Logger } from "../lib/log.ts"
import { type Admitted, admit, BASE_PATH, keyOf, NOBODY, pathIsValid, segmentsOf } from "./admit.ts"
import { Answer, type Context, type Directory, type Origin, type Route, SENT } from "./endpoint.ts"
import { depthOk, parse } from "./parse.ts"

export interface ServerOptions {
  routes: readonly Route[]
  directory: Directory
  log: Logger
}

declare module "fastify" {
  interface FastifyRequest {
    admitted: Admitted
  }
  interface FastifyContextConfig {
    route?: Route
  }
}

/** The HTTP server over the endpoint table. Listens to nothing yet. */
export function buildServer({ routes, directory, log }: ServerOptions): FastifyInstance {
  const app = Fastify({
    logger: false,
    genReqId: () => ids.request(),
    requestIdHeader: false,
    routerOptions: { maxParamLength: 5000 },
    bodyLimit: 1024 * 1024,
    requestTimeout: 300_000,
    keepAliveTimeout: 5000,
    connectionTimeout: 0,
    frameworkErrors: (error, request, reply) => sendError(log, error, request, reply),
  })
  readBodies(app)
  app.decorateRequest("admitted", { getter: () => NOBODY })

  app.addHook("onRequest", async (request, reply) => {
    reply.header("X-Request-Id", request.id)
    const route = request.routeOptions.config.route ?? null
    if (route?.endpoint.access === "public") return
    const segments = segmentsOf(request.raw.url ?? "/")
    if (segments === null) return
    const key = keyOf(request.headers)
    const principal = key === null ? null : await directory.authenticate(key)
    const admitted = await admit(directory, route?.endpoint ?? null, principal, segments)
    Object.defineProperty(request, "admitted", { value: admitted })
    if (!pathIsValid(request.raw.url ?? "/")) throw new AppError("invalid_request", "the path is not valid")
  })

  for (const route of routes) {
    const { endpoint } = route
    app.route({
      method: endpoint.method,
      url:
        (endpoint.versioned ? BASE_PATH : "") + endpoint.path.replace(/\{(\w+)\*\}/, "*").replace(/\{(\w+)\}/g, ":$1"),
      bodyLimit: endpoint.maxBodyBytes,
      config: { route },
      handler: (request, reply) => run(route, directory, request, reply),
    })
  }
  app.setErrorHandler((error, request, reply) => sendError(log, error, request, reply))
  app.setNotFoundHandler((request, reply) => {
    const allow = allowedMethods(routes, request.raw.url ?? "/")
    if (allow.length === 0) throw new AppError("not_found", "there is nothing at this path")
    reply.header("Allow", allow.join(", "))
    throw new AppError("method_not_allowed", `this path takes ${allow.join(", ")}`)
  })
  return app
}

async function run(route: Route, directory: Directory, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { endpoint } = route
  const { principal, user, agent } = request.admitted
  const gone = new AbortController()
  reply.raw.once("close", () => {
    if (!reply.raw.writableFinished) gone.abort()
  })
  const raw = { ...(request.params as Record<string, string>) }
  const rest = /\{(\w+)\*\}/.exec(endpoint.path)?.[1]
  if (rest) raw[rest] = raw["*"] ?? ""
  delete raw["*"]
  const context: Context<Endpoint> & { user: unknown; agent: unknown } = {
    principal,
    user,
    agent,
    origin: originOf(request),
    signal: principal ? AbortSignal.any([gone.signal, directory.watch(principal)]) : gone.signal,
    idempotency: null,
    params: parse(endpoint.params, raw, "the path"),
    query: parse(endpoint.query, request.query, "the query"),
    body: endpoint.bodyKind === "json" ? parse(endpoint.body, bodyOf(endpoint, request), "the body") : request.body,
    request,
    reply,
  }
  const result = await route.handle(context)
  if (result === SENT) return reply
  const answer = result instanceof Answer ? result : new Answer(endpoint.statuses[0], result)
  return reply.code(answer.status).headers(answer.headers).send(answer.body)
}

function bodyOf(endpoint: Endpoint, request: FastifyRequest): unknown {
  if (request.body !== undefined) return request.body
  if (endpoint.bodyOptional) return {}
  throw new AppError("invalid_request", "the body must be a JSON object")
}

function originOf(request: FastifyRequest): Origin {
  const { principal, user, agent } = request.admitted
  const actor = principal === null ? "nobody" : actorOf(principal.kind, user?.name, agent?.name)
  return { actor, ip: request.ip, requestId: request.id }
}

function actorOf(kind: "admin" | "user" | "agent", user = "", agent = ""): string {
  if (kind === "admin") return "admin"
  return kind === "user" ? `user:${user}` : `agent:${user}/${agent}`
}

/** JSON is checked before it is parsed; raw bodies are left to the handler, which counts them. */
function readBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  const json = app.getDefaultJsonParser("error", "error")
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (request, body, done) => {
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body)
    if (bytes.length === 0 && request.routeOptions.config.route?.endpoint.bodyOptional) return done(null, undefined)
    if (isUtf8(bytes) && depthOk(bytes)) return json(request, bytes.toString(), done)
    done(new AppError("invalid_request", "the body is not valid JSON"), undefined)
  })
  app.addContentTypeParser("*", (request, payload, done) => {
    if (request.routeOptions.config.route?.endpoint.bodyKind === "raw") return done(null, payload)
    done(new AppError("unsupported_media_type", "send the body as application/json"), undefined)
  })
}

const FRAMEWORK_ERRORS: Record<number, [AppError["code"], string]> = {
  400: ["invalid_request", "the request is not valid"],
  404: ["not_found", "there is nothing at this path"],
  413: ["too_large", "the body is too large"],
  414: ["invalid_request", "the path is too long"],
  415: ["unsupported_media_type", "send the body as application/json"],
}

/** Codes that say no more than the status does; the contract gives these answers' bodies to the byte. */
const UNNAMED = new Set<AppError["code"]>(["unauthorized", "not_found", "internal"])

function sendError(log: Logger, error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known = toAppError(error)
  if (known === null || known.status >= 500) {
    log.error("a request failed", { requestId: request.id, error })
    return reply.code(known?.status ?? 500).send({ error: "internal server error" })
  }
  if (known.retryAfterSeconds !== undefined) reply.header("Retry-After", String(known.retryAfterSeconds))
  const { message, code, details, extra } = known
  return reply
    .code(known.status)
    .send({ error: message, ...(UNNAMED.has(code) ? {} : { code }), ...(details ? { details } : {}), ...extra })
}

function toAppError(error: unknown): AppError | null {
  if (error instanceof AppError) return error
  if (typeof error !== "object" || error === null || !("statusCode" in error)) return null
  const entry = FRAMEWORK_ERRORS[Number(error.statusCode)]
  return entry ? new AppError(entry[0], entry[1], { cause: error }) : null
}

function allowedMethods(routes: readonly Route[], url: string): string[] {
  const path = url.split("?", 1)[0] ?? ""
  const found = new Set<string>()
  for (const { endpoint } of routes) {
    const full = (endpoint.versioned ? BASE_PATH : "") + endpoint.path
    const pattern = full.replace(/\{\w+\*\}/, ".*").replace(/\{\w+\}/g, "[^/]+")
    if (!new RegExp(`^${pattern}$`).test(path)) continue
    found.add(endpoint.method)
    if (endpoint.method === "GET") found.add("HEAD")
  }
  return [...found].sort()
}
