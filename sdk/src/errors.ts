import type { ErrorCode, ErrorDetail } from "@autonomis/contract/errors.ts"

/** An answer with a status of 400 or more. `code` says what kind of error it is, `message` what to tell a person. */
export class ApiError extends Error {
  readonly status: number
  readonly code: ErrorCode
  readonly details: readonly ErrorDetail[]
  /** Finds the request in the server's log. */
  readonly requestId: string | null
  readonly retryAfterSeconds: number | null
  /** The whole body, for what stands beside `error` (a skill's verdict, the matches of an ambiguous name). */
  readonly body: Readonly<Record<string, unknown>>

  constructor(status: number, body: Record<string, unknown>, headers: Headers) {
    super(typeof body.error === "string" ? body.error : `the server answered ${status}`)
    this.name = "ApiError"
    this.status = status
    this.code = typeof body.code === "string" ? (body.code as ErrorCode) : codeOf(status)
    this.details = Array.isArray(body.details) ? body.details : []
    this.requestId = headers.get("x-request-id")
    const after = Number(headers.get("retry-after") ?? Number.NaN)
    this.retryAfterSeconds = Number.isFinite(after) ? after : null
    this.body = body
  }
}

/** The request got no answer: no network, or the server is away. */
export class ConnectionError extends Error {
  constructor(cause: unknown) {
    super("the server cannot be reached", { cause })
    this.name = "ConnectionError"
  }
}

export function isApiError(error: unknown, code?: ErrorCode): error is ApiError {
  return error instanceof ApiError && (code === undefined || error.code === code)
}

/** Codes that the contract leaves out of the body, because the status says as much. */
function codeOf(status: number): ErrorCode {
  const codes: Record<number, ErrorCode> = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    412: "precondition_failed",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    424: "failed_dependency",
    429: "rate_limited",
    503: "unavailable",
  }
  return codes[status] ?? (status >= 500 ? "internal" : "invalid_request")
}
