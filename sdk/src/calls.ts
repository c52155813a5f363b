import type { Endpoint } from "@autonomis/contract/endpoint.ts"
import type { z } from "zod"

/** What a request needs to know of an endpoint while running; its types come from the contract alone. */
export interface Row {
  method: string
  path: string
  versioned: boolean
  sends: "json" | "raw" | "none"
  answers: "json" | "sse" | "bytes" | "none"
}

export interface CallOptions {
  signal?: AbortSignal
  headers?: Record<string, string>
  /** The same key and body within 24 h give the first answer again instead of doing it twice. */
  idempotencyKey?: string
}
export interface UploadOptions extends CallOptions {
  contentType?: string
}

/** One server-sent event, its data parsed. */
export interface ServerEvent {
  id: string | null
  event: string
  data: unknown
}

/** Path and query parameters in one object. */
type Input<E> = E extends Endpoint<infer P, infer Q> ? Fields<z.input<P>> & Fields<z.input<Q>> : never
/** An object without fields would forbid those of the other half. */
type Fields<T> = string extends keyof T ? unknown : T
type BodyIn<E> = E extends Endpoint<infer _P, infer _Q, infer B> ? z.input<B> : never
export type AnswerOf<E> = E extends Endpoint<infer _P, infer _Q, infer _B, infer A> ? z.output<A> : never

export type Plain<E> = (input: Input<E>, options?: CallOptions) => Promise<AnswerOf<E>>
export type WithBody<E> = (input: Input<E>, body: BodyIn<E>, options?: CallOptions) => Promise<AnswerOf<E>>
export type OptionalBody<E> = (input: Input<E>, body?: BodyIn<E>, options?: CallOptions) => Promise<AnswerOf<E>>
export type Upload<E> = (input: Input<E>, body: Blob | string, options?: UploadOptions) => Promise<AnswerOf<E>>
export type Bytes<E> = (input: Input<E>, options?: CallOptions) => Promise<Response>
export type Events<E> = (input: Input<E>, options?: CallOptions) => Promise<Response>
export type EventsWithBody<E> = (input: Input<E>, body: BodyIn<E>, options?: CallOptions) => Promise<Response>
