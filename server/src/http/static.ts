import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { readdir, readFile, stat } from "node:fs/promises"
import { extname, join, relative, sep } from "node:path"
import { promisify } from "node:util"
import { gzip } from "node:zlib"
import type { FastifyReply, FastifyRequest } from "fastify"
import { matches, takesGzip } from "./send.ts"

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".webmanifest": "application/manifest+json; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".webp": "image/webp",
  ".woff2": "font/woff2",
  ".txt": "text/plain; charset=utf-8",
}
const COMPRESSIBLE = /^(text\/|application\/|image\/svg)/
const GZIP_FROM_BYTES = 1024
const gzipped = promisify(gzip)

export interface StaticFile {
  file: string
  type: string
  sizeBytes: number
  etag: string
}

/** Files of a folder by their path below it (`assets/index-3fa9.js`), as they were when it was read. */
export type StaticFiles = ReadonlyMap<string, StaticFile>

/** An empty map where the folder is not there. Links are left out: nothing outside the folder is ever served. */
export async function readStatic(folder: string, only: (path: string) => boolean = () => true): Promise<StaticFiles> {
  const files = new Map<string, StaticFile>()
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => [])
  for (const entry of entries) {
    if (!entry.isFile()) continue
    const file = join(entry.parentPath, entry.name)
    const path = relative(folder, file).split(sep).join("/")
    if (!only(path)) continue
    const { size, mtimeMs } = await stat(file)
    const etag = createHash("sha1").update(`${path} ${size} ${mtimeMs}`).digest("base64url")
    const type = TYPES[extname(path)] ?? "application/octet-stream"
    files.set(path, { file, type, sizeBytes: size, etag: `W/"${etag}"` })
  }
  return files
}

export interface StaticSender {
  /** `immutable`: the name changes with the content. */
  send(file: StaticFile, immutable: boolean, request: FastifyRequest, reply: FastifyReply): Promise<void>
}

/** Compresses each file once, when it is first asked for, and keeps that. */
export function createStaticSender(): StaticSender {
  const compressed = new Map<string, Promise<Buffer>>()
  async function compress({ file, etag }: StaticFile): Promise<Buffer> {
    const known = compressed.get(etag)
    if (known) return await known
    const making = readFile(file).then((bytes) => gzipped(bytes, { level: 9 }))
    compressed.set(etag, making)
    making.catch(() => compressed.delete(etag))
    return await making
  }
  return {
    async send(file, immutable, request, reply) {
      reply.header("ETag", file.etag)
      reply.header("Cache-Control", immutable ? "public, max-age=31536000, immutable" : "no-cache")
      if (matches(request.headers["if-none-match"], file.etag)) {
        reply.code(304).send()
        return
      }
      reply.type(file.type)
      if (!COMPRESSIBLE.test(file.type) || file.sizeBytes < GZIP_FROM_BYTES) {
        reply.send(await readFile(file.file))
        return
      }
      reply.header("Vary", "Accept-Encoding")
      if (takesGzip(request.headers["accept-encoding"])) {
        reply.header("Content-Encoding", "gzip")
        reply.send(await compress(file))
      } else {
        reply.header("Content-Length", String(file.sizeBytes))
        reply.send(request.method === "HEAD" ? "" : createReadStream(file.file))
      }
    },
  }
}
