import { ERROR_STATUS, type ErrorCode, type ErrorDetail } from "@autonomis/contract/errors.ts"

export interface AppErrorOptions {
  /** What went wrong inside; goes to the log, never to the caller. */
  cause?: unknown
  details?: ErrorDetail[]
  /**
   * Further public fields of the error's body (`matches`, `limit`, `resets_at` …). `retry_after_seconds` among them, which
   * readers of a stream get there, becomes `Retry-After` too.
   */
  extra?: Record<string, unknown>
  /** Seconds after which a repeat may work; becomes `Retry-After`. */
  retryAfterSeconds?: number
}

/** The one error that services throw. `message` is public: it says what to do and reveals nothing. */
export class AppError extends Error {
  override readonly name = "AppError"
  readonly code: ErrorCode
  readonly details: ErrorDetail[] | undefined
  readonly extra: Record<string, unknown> | undefined
  readonly retryAfterSeconds: number | undefined

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details
    this.extra = options.extra
    const later = options.extra?.retry_after_seconds
    this.retryAfterSeconds = options.retryAfterSeconds ?? (typeof later === "number" ? later : undefined)
  }

  get status(): number {
    return ERROR_STATUS[this.code]
  }
}

/** An error's text for the log, whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
