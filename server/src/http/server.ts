import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify"
import { type Awaitable, whenThere } from "../lib/awaitable.ts"
import { AppError } from "../lib/errors.ts"
import { ids } from "../lib/ids.ts"
import type { Logger } from "../lib/log.ts"
import type { AccessLog } from "./access-log.ts"
import { type Admitted, admit, type Target } from "./admit.ts"
import { leaveBodies, readJsonBodies } from "./bodies.ts"
import { clientAddress } from "./client-address.ts"
import { corsHeaders, preflightHeaders } from "./cors.ts"
import { keyOf } from "./credentials.ts"
import type { Directory, Principal, Route } from "./endpoint.ts"
import type { IdempotencyStore } from "./idempotency.ts"
import type { Pages } from "./pages.ts"
import { allowOf, BASE_PATH, type PathTable, partsOf, pathOf, pathTable, routerPaths, urlIsValid } from "./paths.ts"
import { type Allowance, createRateLimits, type RateLimits, rateHeaders } from "./rate-limit.ts"
import { run } from "./run.ts"
import { answerBadConnection, sendError } from "./send-error.ts"
import type { Senders } from "./senders.ts"

export interface ServerOptions {
  routes: readonly Route[]
  directory: Directory
  log: Logger
  /** Null: `Idempotency-Key` is not looked at. */
  idempotency?: IdempotencyStore | null
  /** Shared with whoever else counts wrong keys. */
  limits?: RateLimits
  /** Where users reach the server; https there means Secure cookies and HSTS. Asked late: the port is known late. */
  publicUrl?: () => string
  /** Networks whose `X-Forwarded-For` counts. */
  trustedProxies?: readonly string[]
  /** Origins whose pages may call the API; `*` is every one. */
  corsOrigins?: readonly string[]
  /** Compare each answer with the contract. */
  checkAnswers?: boolean
  /** Told of every answer. */
  accessLog?: AccessLog
  /** Answers what is no endpoint and needs no key (reference, dashboard); false when it has nothing there. */
  pages?: Pages
  timeouts?: Partial<Timeouts>
  /** Who is looked at for sending too slowly; for tests. */
  senders?: Senders
}

/** How long a client may take, in milliseconds. */
export interface Timeouts {
  headersMs: number
  /** To the end of the body. */
  requestMs: number
  /** How often the two are looked at. */
  checkMs: number
}

const TIMEOUTS: Timeouts = { headersMs: 15_000, requestMs: 300_000, checkMs: 2000 }

declare module "fastify" {
  interface FastifyRequest {
    /** Null until the request was let in, and where no key is needed. */
    admitted: Admitted | null
    allowance: Allowance | null
  }
  interface FastifyContextConfig {
    route?: Route
  }
}

/** The HTTP server over the endpoint table. Listens to nothing yet. */
export function buildServer(options: ServerOptions): FastifyInstance {
  const { routes, directory, log } = options
  const timeouts = { ...TIMEOUTS, ...options.timeouts }
  const at = pathTable(routes.map(({ endpoint }) => endpoint))
  const entrance = { ...options, at, limits: options.limits ?? createRateLimits(), site: siteOf(options.publicUrl) }

  const app = Fastify({
    logger: false,
    genReqId: () => ids.request(),
    requestIdHeader: false,
    // The head of a request is bounded as a whole (16 KiB).
    routerOptions: { maxParamLength: 16_384 },
    bodyLimit: 1024 * 1024,
    requestTimeout: timeouts.requestMs,
    keepAliveTimeout: 5000,
    connectionTimeout: 0,
    // Whether new work is taken while the server drains is for the domains to say.
    return503OnClosing: false,
    http: { headersTimeout: timeouts.headersMs, connectionsCheckingInterval: timeouts.checkMs },
    trustProxy: options.trustedProxies?.length ? [...options.trustedProxies] : false,
    clientErrorHandler: answerBadConnection,
    frameworkErrors: (error, request, reply) => {
      // A path that cannot be decoded: who has no key is told that first, like everywhere.
      new Promise((resolve) => resolve(enter(entrance, request, reply)))
        .then(() => error)
        .catch((refusal: unknown) => refusal)
        .then((answer: unknown) => sendError(log, answer, request, reply))
    },
  })
  app.decorateRequest("admitted", null)
  app.decorateRequest("allowance", null)
  // Told by a call where it is told at once: a promise for each small request costs as much as its look-ups.
  app.addHook("onRequest", (request, reply, done) => {
    try {
      const entered = enter(entrance, request, reply)
      if (entered instanceof Promise) entered.then(() => done(), done)
      else done()
    } catch (error) {
      done(error instanceof Error ? error : new Error("refused", { cause: error }))
    }
  })
  app.setErrorHandler((error, request, reply) => {
    if (request.routeOptions.config.route) options.accessLog?.recordAtEnd(request, reply)
    return sendError(log, error, request, reply)
  })
  app.setNotFoundHandler(() => {
    throw nothingHere()
  })
  readJsonBodies(app, undefined, options.senders)
  const runner = {
    directory,
    log,
    idempotency: options.idempotency ?? null,
    checkAnswers: options.checkAnswers ?? false,
    accessLog: options.accessLog ?? null,
  }
  const add = (scope: FastifyInstance, route: Route) =>
    routerPaths(route.endpoint).forEach((url) => {
      scope.route({
        method: route.endpoint.method,
        url,
        bodyLimit: route.endpoint.maxBodyBytes,
        config: { route },
        handler: (request, reply) => run(route, runner, request, reply),
      })
    })
  const isRaw = ({ endpoint }: Route) => endpoint.bodyKind === "raw"
  for (const route of routes) if (!isRaw(route)) add(app, route)
  app.register(async (scope) => {
    leaveBodies(scope)
    for (const route of routes.filter(isRaw)) add(scope, route)
  })
  return app
}

const nothingHere = (): AppError => new AppError("not_found", "there is nothing at this path")

/** Parsed once: it does not change while the server listens. */
function siteOf(publicUrl: (() => string) | undefined): () => URL {
  let text = ""
  let url = new URL("http://127.0.0.1")
  return () => {
    const now = publicUrl?.() ?? url.origin
    if (now !== text) url = new URL(now)
    text = now
    return url
  }
}

interface Entrance extends ServerOptions {
  site: () => URL
  at: PathTable
  limits: RateLimits
}

/** Everything before the body, in the contract's order: 401, 404 of user and agent, 403, 404 and 405 of the route. */
function enter(entrance: Entrance, request: FastifyRequest, reply: FastifyReply): Awaitable<unknown> {
  reply.header("X-Request-Id", request.id)
  reply.header("X-Content-Type-Options", "nosniff")
  if (entrance.site().protocol === "https:") reply.header("Strict-Transport-Security", "max-age=31536000")
  if (entrance.corsOrigins?.length) corsHeaders(entrance.corsOrigins, request, reply)
  const url = request.raw.url ?? "/"
  const route = request.routeOptions.config.route?.endpoint
  if (route === undefined) return enterNowhere(entrance, url, request, reply)
  const target = { route, siblings: [], isGateway: route.path.startsWith("/gateway/"), ...namesIn(request) }
  const known = isPublic(route) ? null : identify(entrance, target, request, reply)
  return whenThere(known, () => {
    if (!urlIsValid(url)) throw badPath()
  })
}

/** No route of this method: who calls is told what stands there for others, as far as they may know. */
async function enterNowhere(
  entrance: Entrance,
  url: string,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<unknown> {
  // A route's runner knows its own answers.
  entrance.accessLog?.recordAtEnd(request, reply)
  const path = pathOf(url)
  const siblings = entrance.at(path)
  const allow = allowOf(siblings)
  if (request.method === "OPTIONS" && siblings.length > 0) {
    reply.header("Allow", allow)
    preflightHeaders(allow, reply)
    return reply.code(204).send()
  }
  const isValid = urlIsValid(url)
  if (siblings.length === 0 && isValid && (await entrance.pages?.(request, reply))) return reply
  const parts = partsOf(path) ?? path.slice(1).split("/")
  const place = placeOf(parts)
  if (place !== null || !siblings.every(isPublic)) {
    const target = { route: null, siblings, isGateway: place === "gateway", ...namesAt(parts) }
    await identify(entrance, target, request, reply)
  }
  if (!isValid) throw badPath()
  if (siblings.length === 0) throw nothingHere()
  reply.header("Allow", allow)
  throw new AppError("method_not_allowed", `this path takes ${allow}`)
}

function identify(entrance: Entrance, target: Target, request: FastifyRequest, reply: FastifyReply): Awaitable<void> {
  return whenThere(authenticate(entrance, target.isGateway ? "gateway" : "api", request, reply), (principal) =>
    whenThere(admit(entrance.directory, principal, target), (admitted) => {
      request.admitted = admitted
    }),
  )
}

const badPath = (): AppError => new AppError("invalid_request", "the path is not valid")
const isPublic = ({ access }: { access: string }): boolean => access === "public"
const API = BASE_PATH.slice(1).split("/")
const isApi = (parts: readonly string[]): boolean => API.every((part, i) => parts[i] === part)

/** What a path where nothing stands belongs to, by its form. */
function placeOf(parts: readonly string[]): "api" | "gateway" | null {
  return parts[0] === "gateway" ? "gateway" : isApi(parts) ? "api" : null
}

type Names = Pick<Target, "userName" | "agentName">

/** The user and agent that a route's path names. */
function namesIn(request: FastifyRequest): Names {
  const { user, agent } = request.params as { user?: string; agent?: string }
  return { userName: user, agentName: agent }
}

/** The same of a path where nothing stands, by its form. */
function namesAt(parts: readonly string[]): Names {
  if (parts[0] === "gateway") return { userName: parts[1] || undefined, agentName: parts[2] || undefined }
  const [users, user, agents, agent] = parts.slice(API.length)
  if (!isApi(parts) || users !== "users" || !user) return { userName: undefined, agentName: undefined }
  return { userName: user, agentName: agents === "agents" && agent ? agent : undefined }
}

function authenticate(
  { directory, limits, site }: Entrance,
  place: "api" | "gateway",
  request: FastifyRequest,
  reply: FastifyReply,
): Awaitable<Principal | null> {
  const { method, headers } = request
  const key = keyOf(method, headers, site())
  if (key === null) return null
  return whenThere(key === "" ? null : directory.authenticate(key, place), (principal) => {
    if (principal === null) {
      const ip = clientAddress(request.ip, request.socket.remoteAddress) ?? ""
      return limits.wrongKey(ip).then(() => null)
    }
    return whenThere(limits.take(principal), (allowance) => {
      if (allowance) {
        // Counted now, so that no refused request is free; told after the faults that come first in the contract's order.
        request.allowance = allowance
        reply.headers(rateHeaders(allowance))
      }
      return principal
    })
  })
}
