import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { contract } from "@autonomis/contract/endpoints.ts"
import { Answer, endpoint, type Route, SENT } from "../http/endpoint.ts"
import { iso } from "../lib/clock.ts"
import { AppError } from "../lib/errors.ts"
import type { FileStat } from "../sandboxes/driver.ts"
import { isNamed, matchesStrongly, rangeOf } from "./conditions.ts"
import { contentTypeOf } from "./content-type.ts"
import type { AgentFiles } from "./files.ts"

/** What a tenant's file may do in a browser that opens it: nothing. */
const SAFE = { "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox" }

const streamOf = (body: unknown) => (body instanceof Readable ? body : Readable.from([]))
const quoted = (stat: FileStat) => `"${stat.etag}"`

/** A folder may be named with a slash behind it. */
const trimmed = (path: string) => path.replace(/\/$/, "")

export function fileRoutes(files: AgentFiles): Route[] {
  return [
    endpoint(contract.files.read, async (context) => {
      const { user, agent, request, reply, signal } = context
      const path = trimmed(context.params.path)
      const { headers } = request
      const found = await files.stat(user, agent, path, signal)
      if (found.type === "directory") {
        const { entries, nextCursor } = await files.list(user, agent, path, context.query, signal)
        return {
          path,
          ...(nextCursor === null ? {} : { next_cursor: nextCursor }),
          entries: entries.map(({ name, type, sizeBytes, modifiedMs }) => ({
            name,
            type,
            size: sizeBytes,
            modified_at: iso(modifiedMs),
          })),
        }
      }
      if (context.query.limit !== undefined || context.query.cursor !== undefined)
        throw new AppError("invalid_request", "limit and cursor are for folders: this is none")
      if (context.params.path !== path) throw new AppError("not_found", "file not found")
      if (!matchesStrongly(headers["if-match"], found.etag))
        throw new AppError("precondition_failed", "the file is not in the state that the condition asks for")
      const cacheable = { ...SAFE, ETag: quoted(found), "Cache-Control": "private, no-cache" }
      if (found.type === "file" && isNamed(headers["if-none-match"], found.etag)) {
        await reply.code(304).headers(cacheable).send()
        return SENT
      }

      const wanted =
        headers["if-range"] === undefined || headers["if-range"] === quoted(found)
          ? rangeOf(headers.range, found.sizeBytes)
          : { kind: "whole" as const }
      if (wanted.kind === "unsatisfiable") {
        reply.header("Content-Range", `bytes */${found.sizeBytes}`)
        throw new AppError("range_not_satisfiable", `the file has ${found.sizeBytes} bytes`)
      }
      const range = wanted.kind === "part" ? { start: wanted.start, end: wanted.end } : null
      const { stat, body } = await files.read(user, agent, path, range, signal)
      const end = Math.min(range?.end ?? stat.sizeBytes, stat.sizeBytes)
      const start = Math.min(range?.start ?? 0, end)
      reply.hijack()
      const response = reply.raw
      for (const [name, value] of Object.entries(reply.getHeaders()))
        if (value !== undefined) response.setHeader(name, value)
      response.writeHead(range === null ? 200 : 206, {
        ...cacheable,
        ETag: quoted(stat),
        "Accept-Ranges": "bytes",
        "Content-Type": contentTypeOf(path),
        "Content-Length": end - start,
        "Last-Modified": new Date(stat.modifiedMs).toUTCString(),
        ...(range === null ? {} : { "Content-Range": `bytes ${start}-${end - 1}/${stat.sizeBytes}` }),
      })
      if (request.method === "HEAD") {
        body.destroy()
        response.end()
        return SENT
      }
      // A file that was cut short under way, or a reader who left: the connection says it by its end.
      await pipeline(body, response).catch(() => response.destroy())
      return SENT
    }),

    endpoint(contract.files.write, async ({ user, agent, params, body, request, origin, signal }) => {
      const { headers } = request
      const upload = {
        body: streamOf(body),
        sizeBytes: headers["content-length"] === undefined ? null : Number(headers["content-length"]),
        ifMatch: headers["if-match"],
        ifNoneMatch: headers["if-none-match"],
      }
      const written = await files.write(user, agent, params.path, upload, origin, signal)
      const { stat, created } = written
      const answer = { path: params.path, size: stat.sizeBytes, modified_at: iso(stat.modifiedMs), etag: quoted(stat) }
      return new Answer(created ? 201 : 200, answer, { ETag: quoted(stat) })
    }),

    endpoint(contract.files.delete, async ({ user, agent, params, query, request, origin, signal }) => {
      const options = { recursive: query.recursive === "true", ifMatch: request.headers["if-match"] }
      await files.remove(user, agent, trimmed(params.path), options, origin, signal)
      return undefined
    }),
  ]
}
