import { Readable } from "node:stream"
import { skills as contract } from "@autonomis/contract/skills.ts"
import { Answer, endpoint, type Route, SENT } from "../http/endpoint.ts"
import { AppError } from "../lib/errors.ts"
import type { Kept, Skills } from "./skills.ts"

/** 201 for a skill that is new, 200 for one that was replaced. */
const answer = ({ skill, created }: Kept) => new Answer(created ? 201 : 200, skill)

export function skillRoutes(skills: Skills): Route[] {
  return [
    endpoint(contract.list, async ({ user, signal }) => ({ skills: await skills.list(user, signal) })),
    endpoint(contract.read, async ({ user, params, reply }) => {
      const bytes = await skills.read(user, params.id)
      reply.code(200).headers({ "Content-Type": "text/markdown; charset=utf-8", "X-Content-Type-Options": "nosniff" })
      reply.send(bytes)
      return SENT
    }),
    endpoint(contract.upload, async ({ user, params, body, origin, request, signal }) => {
      const kind = kindOf(request.headers["content-type"])
      return answer(await skills.upload(user, params.id, { kind, bytes: bytesOf(body) }, origin, signal))
    }),
    endpoint(contract.delete, async ({ user, params, origin }) => {
      await skills.remove(user, params.id, origin)
      return undefined
    }),
    endpoint(contract.search, async ({ user, query, signal }) => ({
      skills: await skills.search(user, query.q, signal),
    })),
    endpoint(contract.install, async ({ user, params, body, origin, signal }) =>
      answer(await skills.install(user, params.slug, body, origin, signal)),
    ),
  ]
}

function kindOf(contentType: string | undefined): "markdown" | "zip" {
  const type = (contentType ?? "").split(";", 1)[0]?.trim().toLowerCase()
  if (type === "text/markdown") return "markdown"
  if (type === "application/zip") return "zip"
  throw new AppError("unsupported_media_type", "send a SKILL.md as text/markdown, or a bundle as application/zip")
}

/** A raw body comes as a stream, which the contract's schemas cannot say. */
function bytesOf(body: unknown): AsyncIterable<Uint8Array> {
  if (!(body instanceof Readable)) throw new AppError("invalid_request", "the body is missing")
  // Left open when reading stops early: its connection still carries the answer.
  return body.iterator({ destroyOnReturn: false })
}
