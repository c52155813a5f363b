import { z } from "zod"
import type { Access, BodyKind, Endpoint, Example, Method } from "./endpoint.ts"
import type { ErrorCode } from "./errors.ts"

export const KIB = 1024
export const MIB = 1024 * KIB

export const NAME_PATTERN = /^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/
export const SESSION_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** A user's or an agent's name. */
export const Name = z
  .string()
  .regex(NAME_PATTERN, "1 to 40 of a-z, 0-9 and -, beginning and ending with a letter or digit")
export const SessionName = z
  .string()
  .regex(SESSION_PATTERN, "1 to 64 of A-Z, a-z, 0-9, ., _ and -, beginning with a letter or digit")

/** RFC 3339, UTC, milliseconds. */
export const Time = z.string().meta({ format: "date-time", examples: ["2026-03-01T09:30:00.000Z"] })

export const Page = {
  limit: z.coerce.number().int().min(1).max(200).default(50).meta({ description: "How many at most, 1 to 200." }),
  cursor: z.string().min(1).max(500).optional().meta({ description: "`next_cursor` of the page before." }),
}
export const NextCursor = z.string().nullable().meta({ description: "For the next page; null on the last." })

/** No lone surrogate and no NUL: neither database can keep them. */
export function wellFormed(text: string): boolean {
  return text.isWellFormed() && !text.includes("\0")
}
export const WELL_FORMED = "must be well-formed Unicode without NUL"

export const UserParams = z.strictObject({ user: Name })
export const AgentParams = z.strictObject({ user: Name, agent: Name })
const Nothing = z.strictObject({})
export const Empty = z.undefined()

/** A body of raw bytes, as the handler gets it: reading it fails with 413 beyond the endpoint's limit. */
export const RawBody = z.custom<AsyncIterable<Uint8Array>>()

interface Definition<P extends z.ZodObject, Q extends z.ZodObject, B extends z.ZodType, A extends z.ZodType> {
  id: string
  call: `${Method} /${string}`
  access: Access
  summary: string
  description: string
  params?: P
  query?: Q
  body?: B
  bodyKind?: BodyKind
  bodyOptional?: boolean
  maxBodyBytes?: number
  answer?: A
  statuses?: readonly [number, ...number[]]
  produces?: "json" | "sse" | "bytes" | "none"
  also?: readonly string[]
  errors?: readonly ErrorCode[]
  versioned?: boolean
  example?: Example
}

/** Fills in what most endpoints share. In `call`, `U` and `A` at the front stand for a user's and an agent's path. */
export function define<
  P extends z.ZodObject = typeof Nothing,
  Q extends z.ZodObject = typeof Nothing,
  B extends z.ZodType = typeof Empty,
  A extends z.ZodType = typeof Empty,
>(tag: string, d: Definition<P, Q, B, A>): Endpoint<P, Q, B, A> {
  const [method, path] = d.call.split(" ") as [Method, string]
  const produces = d.produces ?? (d.answer === undefined ? "none" : "json")
  return {
    id: d.id,
    method,
    path: path.replace(/^\/A(?=\/|$)/, "/users/{user}/agents/{agent}").replace(/^\/U(?=\/|$)/, "/users/{user}"),
    versioned: d.versioned ?? true,
    access: d.access,
    tag,
    summary: d.summary,
    description: d.description,
    // Left out means "takes none", which is what the defaults of the type parameters say.
    params: d.params ?? (Nothing as unknown as P),
    query: d.query ?? (Nothing as unknown as Q),
    body: d.body ?? (Empty as unknown as B),
    bodyKind: d.bodyKind ?? (d.body === undefined ? "none" : "json"),
    bodyOptional: d.bodyOptional ?? false,
    maxBodyBytes: d.maxBodyBytes ?? MIB,
    answer: d.answer ?? (Empty as unknown as A),
    statuses: d.statuses ?? (produces === "none" ? [204] : [200]),
    produces,
    also: d.also ?? [],
    errors: d.errors ?? [],
    example: d.example ?? null,
  }
}
