import type { FastifyReply, FastifyRequest } from "fastify"

const EXPOSED =
  "X-Request-Id, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, ETag, Idempotent-Replayed"
const TAKEN =
  "X-API-Key, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Range, Accept"

/**
 * Lets pages of the named origins (`*`: of all) call the API with a key in a header. Cookies are never allowed across
 * origins.
 */
export function corsHeaders(origins: readonly string[], request: FastifyRequest, reply: FastifyReply): void {
  if (origins.length === 0) return
  const all = origins.includes("*")
  if (!all) reply.header("Vary", "Origin")
  const { origin } = request.headers
  if (origin === undefined || !(all || origins.includes(origin))) return
  reply.header("Access-Control-Allow-Origin", all ? "*" : origin)
  reply.header("Access-Control-Expose-Headers", EXPOSED)
}

/** For the answer to a preflight. */
export function preflightHeaders(allow: string, reply: FastifyReply): void {
  if (!reply.hasHeader("Access-Control-Allow-Origin")) return
  reply.header("Access-Control-Allow-Methods", allow)
  reply.header("Access-Control-Allow-Headers", TAKEN)
  reply.header("Access-Control-Max-Age", "600")
}
