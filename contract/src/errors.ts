import { z } from "zod"

/**
 * Every error of the API, by its code, with the HTTP status that it is sent with.
 * Source of the statuses in the reference and of the SDK's typed errors.
 */
export const ERROR_STATUS = {
  invalid_request: 400,
  unauthorized: 401,
  forbidden: 403,
  suspended: 403,
  plan_limit: 403,
  malware: 403,
  not_found: 404,
  method_not_allowed: 405,
  request_timeout: 408,
  conflict: 409,
  sandbox_unavailable: 409,
  ambiguous_skill: 409,
  needs_accept_risk: 409,
  precondition_failed: 412,
  too_large: 413,
  unsupported_media_type: 415,
  range_not_satisfiable: 416,
  failed_dependency: 424,
  rate_limited: 429,
  concurrency_limit: 429,
  budget_exhausted: 429,
  cancelled: 409,
  crashed: 500,
  internal: 500,
  unavailable: 503,
} as const satisfies Record<string, number>

export type ErrorCode = keyof typeof ERROR_STATUS

/** One fault of an input: `path` as in `agents[0].name`, `message` says what to do. */
export const ErrorDetail = z.object({ path: z.string(), message: z.string() })
export type ErrorDetail = z.infer<typeof ErrorDetail>

/** The body of every answer with a status of 400 or more (outside the OpenAI gateway). */
export const ErrorBody = z
  .looseObject({
    error: z.string().meta({ examples: ["agent not found"] }),
    code: z.string().optional(),
    details: z.array(ErrorDetail).optional(),
  })
  .meta({ id: "Error" })
export type ErrorBody = z.infer<typeof ErrorBody>
