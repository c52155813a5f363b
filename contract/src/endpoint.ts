import type { z } from "zod"
import type { ErrorCode } from "./errors.ts"

/**
 * Who may call an endpoint.
 * - `public`: no key needed · `any`: every valid key · `platform`: admin keys only
 * - `owner`: admin, or a key of the user in the path · `owner-admin`: stands under a user, admin keys only
 * - `agent`: as `owner`, and the key of the agent in the path
 */
export type Access = "public" | "any" | "platform" | "owner" | "owner-admin" | "agent"

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE"

/** How a body travels: JSON by schema, or raw bytes that the handler reads itself. */
export type BodyKind = "json" | "raw" | "none"

export interface Example {
  params?: Record<string, string>
  query?: Record<string, string>
  body?: unknown
  contentType?: string
  /** The answer's body, as shown; a test runs the call and compares the shape. */
  response?: unknown
}

/** One endpoint of the API: the source of its route, checks, OpenAPI operation, SDK method and place in the role matrix. */
export interface Endpoint<
  Params extends z.ZodObject = z.ZodObject,
  Query extends z.ZodObject = z.ZodObject,
  Body extends z.ZodType = z.ZodType,
  Answer extends z.ZodType = z.ZodType,
> {
  /** `resource.verb`, unique: the OpenAPI operationId and the SDK's method. */
  id: string
  method: Method
  /** Below the base path, parameters as `{name}`; `{path*}` takes the rest. */
  path: string
  /** False: stands at the server's root instead of `/api/v1`. */
  versioned: boolean
  access: Access
  tag: string
  summary: string
  description: string
  params: Params
  query: Query
  body: Body
  bodyKind: BodyKind
  /** A JSON body whose fields are all optional may be left out, Content-Type too. */
  bodyOptional: boolean
  /** Bytes; larger is 413. */
  maxBodyBytes: number
  answer: Answer
  /** Success statuses, the usual one first. */
  statuses: readonly [number, ...number[]]
  /** Content type of the answer when it is not JSON. */
  produces: "json" | "sse" | "bytes" | "none"
  /** Other content types that the caller may ask for with `Accept`. */
  also: readonly string[]
  /** Codes this endpoint may answer beside those every endpoint of its access may. */
  errors: readonly ErrorCode[]
  example: Example | null
}

export type ParamsOf<E> = E extends Endpoint<infer P> ? z.output<P> : never
export type QueryOf<E> = E extends Endpoint<infer _P, infer Q> ? z.output<Q> : never
export type BodyOf<E> = E extends Endpoint<infer _P, infer _Q, infer B> ? z.output<B> : never
