import { hash } from "node:crypto"
import { promisify } from "node:util"
import { gzip } from "node:zlib"
import type { FastifyReply, FastifyRequest } from "fastify"
import type { KeptAnswer } from "./idempotency.ts"

const GZIP_FROM_BYTES = 1024
const GZIP_LEVEL = 5
const gzipped = promisify(gzip)

/** Sends an answer in JSON: with `ETag` and 304 on reads, in gzip where it is long and the caller takes that. */
export function sendAnswer(
  answer: KeptAnswer & { etag?: string },
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> | undefined {
  const { status, headers, body } = answer
  reply.code(status)
  for (const name in headers) reply.header(name, headers[name])
  const reads = request.method === "GET" || request.method === "HEAD"
  if (!reply.hasHeader("Cache-Control")) reply.header("Cache-Control", reads ? "private, no-cache" : "no-store")
  if (body === null) {
    reply.send()
    return
  }
  if (!reply.hasHeader("Content-Type")) reply.header("Content-Type", "application/json; charset=utf-8")
  if (reads && status === 200) {
    const etag = answer.etag ?? etagOf(body)
    reply.header("ETag", etag)
    if (matches(request.headers["if-none-match"], etag)) {
      reply.removeHeader("Content-Type")
      reply.code(304).send()
      return
    }
  }
  // A string of so few characters may be up to three times as many bytes: near enough.
  const isLong = body.length > GZIP_FROM_BYTES
  if (isLong) reply.header("Vary", varyWith(reply, "Accept-Encoding"))
  if (!isLong || !takesGzip(request.headers["accept-encoding"])) {
    reply.send(body)
    return
  }
  reply.header("Content-Encoding", "gzip")
  return gzipped(body, { level: GZIP_LEVEL }).then((bytes) => void reply.send(bytes))
}

export const etagOf = (body: string): string => `W/"${hash("sha1", body, "base64url")}"`

export function varyWith(reply: FastifyReply, name: string): string {
  const now = reply.getHeader("Vary")
  return now === undefined ? name : `${now}, ${name}`
}

/** Does an `If-None-Match` name this tag? Compared weakly, as RFC 9110 says for it. */
export function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  if (header.trim() === "*") return true
  const bare = (tag: string) => tag.trim().replace(/^W\//, "")
  return header.split(",").some((tag) => bare(tag) === bare(etag))
}

export function takesGzip(header: string | string[] | undefined): boolean {
  for (const part of String(header ?? "").split(",")) {
    const [coding = "", ...parameters] = part.split(";")
    if (!/^(gzip|x-gzip|\*)$/i.test(coding.trim())) continue
    return !parameters.some((p) => /^\s*q\s*=\s*0(\.0*)?\s*$/i.test(p))
  }
  return false
}
