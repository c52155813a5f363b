import type { FastifyReply, FastifyRequest } from "fastify"
import { oneJsonLine } from "../lib/log.ts"
import { pathOf } from "./paths.ts"

/** One line for every answer, so that its `X-Request-Id` is found. Lines leave together, a tenth of a second late. */
export interface AccessLog extends Disposable {
  record(request: FastifyRequest, reply: FastifyReply): void
}

const FLUSH_AFTER_MS = 100
const MAX_PATH = 300

export function createAccessLog(write: (lines: string) => void, now: () => number): AccessLog {
  let waiting = ""
  let timer: NodeJS.Timeout | null = null
  function flush(): void {
    if (timer) clearTimeout(timer)
    timer = null
    const lines = waiting
    waiting = ""
    if (lines !== "") write(lines)
  }
  return {
    record(request, reply) {
      const { principal } = request.admitted ?? { principal: null }
      waiting += oneJsonLine({
        time: new Date(now()).toISOString(),
        level: "info",
        message: "request",
        requestId: request.id,
        method: request.method,
        // Without the query, which may hold what is nobody's business.
        path: pathOf(request.raw.url ?? "").slice(0, MAX_PATH),
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
        by: principal === null ? null : (principal.agentId ?? principal.userId ?? principal.kind),
      })
      timer ??= setTimeout(flush, FLUSH_AFTER_MS).unref()
    },
    [Symbol.dispose]: flush,
  }
}
