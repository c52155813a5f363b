import { isAscii, isUtf8 } from "node:buffer"
import { pipeline, type Readable, Transform } from "node:stream"
import type { FastifyInstance, FastifyRequest } from "fastify"
import { AppError } from "../lib/errors.ts"
import { shapeOf } from "./parse.ts"

const tooLarge = (what = "the body is too large"): AppError => new AppError("too_large", what)
const notJson = (): AppError => new AppError("invalid_request", "the body is not valid JSON")

/** JSON is checked before it is parsed; any other type is refused. */
export function readJsonBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  // It refuses `__proto__` and `constructor.prototype`.
  const json = app.getDefaultJsonParser("error", "error")
  const types = ["application/json", "application/merge-patch+json"]
  app.addContentTypeParser(types, { parseAs: "buffer" }, (request, body, done) => {
    const endpoint = request.routeOptions.config.route?.endpoint
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body)
    if (bytes.length === 0 && endpoint && (endpoint.bodyOptional || endpoint.bodyKind === "none"))
      return done(null, undefined)
    const shape = isUtf8(bytes) ? shapeOf(bytes) : "deep"
    if (shape === "crowded") return done(tooLarge("the body has too many values"), undefined)
    if (shape === "deep") return done(notJson(), undefined)
    const text = isAscii(bytes) ? bytes.toString("latin1") : bytes.toString()
    if (!needsCare(bytes)) return parsePlainly(text, done)
    json(request, text, (error, value) => (error ? done(notJson(), undefined) : done(null, value)))
  })
  app.addContentTypeParser("*", (_request, _payload, done) => {
    done(new AppError("unsupported_media_type", "send the body as application/json"), undefined)
  })
}

/**
 * Fastify's parser refuses names of prototypes, which it seeks by regular expressions (2 ms a MiB), and passes over a
 * byte order mark: only a body that has one of these needs it.
 */
const needsCare = (json: Buffer): boolean =>
  json[0] === 0xef || ["__proto__", "constructor", "\\u"].some((word) => json.includes(word, 0, "latin1"))

function parsePlainly(text: string, done: (error: Error | null, value?: unknown) => void): void {
  let result: [Error | null, unknown]
  try {
    result = [null, JSON.parse(text)]
  } catch {
    result = [notJson(), undefined]
  }
  done(...result)
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
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw tooLarge()
  let taken = 0
  const limiter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      taken += chunk.length
      if (taken > maxBytes) done(tooLarge())
      else done(null, chunk)
    },
  })
  // Whoever reads the limiter sees the error; nobody may be reading.
  limiter.on("error", () => {})
  pipeline(request.raw, limiter, () => {})
  return limiter
}
