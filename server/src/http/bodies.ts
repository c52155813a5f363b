import { pipeline, type Readable, Transform } from "node:stream"
import { setTimeout as pause } from "node:timers/promises"
import type { FastifyInstance, FastifyRequest } from "fastify"
import { AppError } from "../lib/errors.ts"
import { createGathered } from "../lib/gather.ts"
import { createBegun } from "./begun.ts"
import { createBodyReader } from "./body-reader.ts"
import { createPace, createTurns, LARGE_BYTES, type LargeBody, SLICE_BYTES } from "./large-bodies.ts"
import { rateError } from "./rate-limit.ts"
import { type ReadJson, readJson } from "./read-json.ts"
import { receive, tooLarge } from "./receive.ts"
import { createSenders, LARGE_RATE, type Senders, SMALL_RATE } from "./senders.ts"

declare module "fastify" {
  interface FastifyRequest {
    large: LargeBody | null
  }
  interface FastifyInstance {
    senders: Senders
  }
}

/**
 * A look counts as so long even when it comes late: while the server itself stood still, nobody was slow.
 */
const LOOK_MS = 1000

/** JSON is checked before it is parsed; any other type is refused. */
export function readJsonBodies(app: FastifyInstance, begun = createBegun(), senders = createSenders()): void {
  app.removeAllContentTypeParsers()
  app.decorateRequest("large", null)
  const turn = createTurns()
  const pace = createPace()
  const reader = createBodyReader()
  const looks = setInterval(() => senders.look(LOOK_MS), LOOK_MS).unref()
  app.decorate("senders", senders)
  app.addHook("onClose", async () => {
    clearInterval(looks)
    await reader[Symbol.asyncDispose]()
  })

  /** After a refusal the rest is received and forgotten, so that the client hears why; not for who is too slow. */
  function read(request: FastifyRequest, payload: Readable): Promise<unknown> {
    // Nobody else listens while a turn is waited for.
    payload.on("error", () => {})
    return readAny(request, payload).catch((error: unknown) => {
      if (!(error instanceof AppError && error.code === "request_timeout")) payload.resume()
      throw error
    })
  }

  async function readAny(request: FastifyRequest, payload: Readable): Promise<unknown> {
    refusePacked(request)
    const endpoint = request.routeOptions.config.route?.endpoint
    const maxBytes = endpoint?.maxBodyBytes ?? LARGE_BYTES
    const length = request.headers["content-length"]
    const announced = length === undefined ? null : Number(length)
    if (announced !== null && announced > maxBytes) throw tooLarge()
    const gathered = createGathered()
    let counted = 0
    try {
      if (announced === null || announced <= LARGE_BYTES) {
        const ended = await receive(payload, senders.sender(SMALL_RATE), (chunk) => {
          gathered.add(chunk)
          const { size } = gathered
          if (size > maxBytes) throw tooLarge()
          // Most come whole, and wait for nothing; who needs no key sends nothing long.
          if (size !== announced && request.admitted !== null) {
            begun.add(payerOf(request), chunk.length)
            counted += chunk.length
          }
          return size <= LARGE_BYTES
        })
        if (ended) {
          if (gathered.size === 0 && endpoint && (endpoint.bodyOptional || endpoint.bodyKind === "none"))
            return undefined
          return valueIn(readJson(gathered.whole()))
        }
      }
      return await readLarge(request, payload, announced ?? maxBytes, gathered.whole())
    } finally {
      if (counted > 0) begun.drop(payerOf(request), counted)
    }
  }

  async function readLarge(request: FastifyRequest, payload: Readable, maxBytes: number, begun: Buffer) {
    // Told before the faults of a body that is not even received.
    if (request.allowance?.refused) throw rateError(request.allowance)
    const mine = await turn(payerOf(request), maxBytes, payload)
    try {
      // Not filled: the system gives its pages as they are written.
      const bytes = new ArrayBuffer(maxBytes)
      const whole = new Uint8Array(bytes)
      let size = 0
      let slice = 0
      const take = (chunk: Buffer) => {
        if (size + chunk.length > maxBytes) throw tooLarge()
        whole.set(chunk, size)
        size += chunk.length
        slice += chunk.length
        return slice < SLICE_BYTES
      }
      take(begun)
      const sender = senders.sender(LARGE_RATE)
      while (!(await receive(payload, sender, take))) {
        await pause(pace(slice))
        slice = 0
      }
      const read = await reader.read(bytes, size, request.headers["idempotency-key"] !== undefined)
      const value = valueIn(read)
      if ("value" in read) request.large = { lifted: new Map(read.lifted), sha256: read.sha256, turn: mine }
      return value
    } catch (error) {
      mine.end()
      throw error
    }
  }

  const types = ["application/json", "application/merge-patch+json"]
  app.addContentTypeParser(types, read)
  app.addContentTypeParser("*", (_request, _payload, done) => {
    done(new AppError("unsupported_media_type", "send the body as application/json"), undefined)
  })
}

/** Whose memory a body counts as. */
const payerOf = ({ admitted }: FastifyRequest): string => admitted?.user?.id ?? admitted?.principal?.keyHash ?? ""

function valueIn(read: ReadJson): unknown {
  if ("value" in read) return read.value
  if (read.refused === "crowded") throw tooLarge("the body has too many values")
  throw new AppError("invalid_request", "the body is not valid JSON")
}

/** A packed body would be kept as what it is not: nothing here unpacks. */
function refusePacked({ headers }: FastifyRequest): void {
  const coding = headers["content-encoding"] ?? "identity"
  if (coding.trim().toLowerCase() !== "identity")
    throw new AppError("unsupported_media_type", "send the body without a Content-Encoding")
}

/** Bodies of every type are left unread, for `rawBody`. */
export function leaveBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser("*", (_request, _payload, done) => done(null, undefined))
}

/**
 * The body of an endpoint that takes raw bytes. Reading it fails with 413 beyond the endpoint's limit; what announces
 * itself as larger is refused here.
 */
export function rawBody(request: FastifyRequest, maxBytes: number): Readable {
  refusePacked(request)
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw tooLarge()
  let taken = 0
  const sender = request.server.senders.sender(SMALL_RATE)
  const limiter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      taken += chunk.length
      sender.came(chunk.length)
      if (taken > maxBytes) done(tooLarge())
      else done(null, chunk)
    },
  })
  // Whoever reads the limiter sees the error; nobody may be reading.
  limiter.on("error", () => {})
  // What its reader has not taken yet is no delay of the client's.
  const arrived = sender.wait(
    (error) => limiter.destroy(error),
    () => !limiter.writableNeedDrain,
  )
  request.raw.once("end", arrived)
  limiter.once("close", arrived)
  pipeline(request.raw, limiter, () => {})
  return limiter
}
