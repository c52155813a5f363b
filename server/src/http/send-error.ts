import { STATUS_CODES } from "node:http"
import type { Socket } from "node:net"
import type { FastifyReply, FastifyRequest } from "fastify"
import { AppError } from "../lib/errors.ts"
import { ids } from "../lib/ids.ts"
import type { Logger } from "../lib/log.ts"

const FRAMEWORK_ERRORS: Record<number, [AppError["code"], string]> = {
  400: ["invalid_request", "the request is not valid"],
  404: ["not_found", "there is nothing at this path"],
  413: ["too_large", "the body is too large"],
  414: ["invalid_request", "the path is too long"],
  415: ["unsupported_media_type", "send the body as application/json"],
}

/** Codes that say no more than the status does; the contract gives these answers' bodies to the byte. */
const UNNAMED = new Set<AppError["code"]>(["unauthorized", "not_found", "internal"])

/** What a caller is told about an error: its status and body, never what went wrong inside. */
export function publicError(error: AppError): { status: number; body: Record<string, unknown> } {
  const { status, code, message, details, extra } = error
  if (status >= 500) return { status, body: { error: "internal server error" } }
  return {
    status,
    body: {
      error: message,
      ...(UNNAMED.has(code) ? {} : { code }),
      ...(details ? { details } : {}),
      ...extra,
    },
  }
}

/** Whatever was thrown as an `AppError`; what is unknown is internal. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error
  if (typeof error === "object" && error !== null && "statusCode" in error) {
    const entry = FRAMEWORK_ERRORS[Number(error.statusCode)]
    if (entry) return new AppError(entry[0], entry[1], { cause: error })
  }
  return new AppError("internal", "internal server error", { cause: error })
}

/** Writes down what is our own fault. */
export function logFault(log: Logger, thrown: unknown, request: FastifyRequest): void {
  const { status, code } = toAppError(thrown)
  if (status >= 500 && code !== "unavailable") log.error("a request failed", { requestId: request.id, error: thrown })
}

export function sendError(log: Logger, thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const error = toAppError(thrown)
  const { status, body } = publicError(error)
  logFault(log, thrown, request)
  reply.header("X-Request-Id", request.id)
  reply.header("Cache-Control", "no-store")
  if (error.retryAfterSeconds !== undefined) reply.header("Retry-After", String(error.retryAfterSeconds))
  // The framework would cut a client that is still sending, before it has read why.
  if (status === 408) reply.header("Connection", "close")
  else if (status < 500) reply.removeHeader("Connection")
  const form = request.raw.url?.startsWith("/gateway/") ? openAiForm(error, body) : body
  return reply.code(status).type("application/json; charset=utf-8").send(JSON.stringify(form))
}

const OPENAI_TYPES: Record<number, string> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  429: "rate_limit_error",
}

/** The form that OpenAI's clients make their typed errors from. */
function openAiForm(error: AppError, body: Record<string, unknown>): Record<string, unknown> {
  const type = error.status >= 500 ? "server_error" : (OPENAI_TYPES[error.status] ?? "invalid_request_error")
  return {
    error: {
      message: body.error,
      type,
      code: UNNAMED.has(error.code) ? null : error.code,
      param: error.details?.[0]?.path || null,
    },
  }
}

/** Answers what is no HTTP, too slow, or has too large a head: nothing of the request is known. */
export function answerBadConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET" || socket.destroyed || !socket.writable) {
    socket.destroy()
    return
  }
  let status = 400
  let text = "the request is not valid HTTP"
  let code: AppError["code"] = "invalid_request"
  if (error.code === "HPE_HEADER_OVERFLOW") [status, text] = [431, "the request's headers are too large"]
  if (error.code === "ERR_HTTP_REQUEST_TIMEOUT")
    [status, text, code] = [408, "the request came too slowly", "request_timeout"]
  const body = JSON.stringify({ error: text, code })
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json; charset=utf-8\r\n` +
      `X-Request-Id: ${ids.request()}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}
