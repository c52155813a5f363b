import type { ErrorCode } from "@autonomis/contract/errors.ts"

/** Ends a run with a word for its user: what went wrong and what to do. Holds no key. */
export class RunFailure extends Error {
  override readonly name = "RunFailure"
  readonly code: ErrorCode
  readonly extra: Record<string, unknown> | undefined
  constructor(code: ErrorCode, message: string, extra?: Record<string, unknown>) {
    super(message)
    this.code = code
    this.extra = extra
  }
}
