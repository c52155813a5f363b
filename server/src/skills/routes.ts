import { Readable } from "node:stream"
import { skills as contract, type InstallStage } from "@autonomis/contract/skills.ts"
import { Answer, endpoint, type Route, SENT } from "../http/endpoint.ts"
import { AppError } from "../lib/errors.ts"
import type { TellStage } from "./progress.ts"
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
    endpoint(contract.upload, async (context) => {
      const { user, params, origin, request, signal } = context
      const body = { kind: kindOf(request.headers["content-type"]), bytes: bytesOf(context.body) }
      return answer(await skills.upload(user, params.id, body, origin, signal, stagesTo(context)))
    }),
    endpoint(contract.delete, async ({ user, params, origin }) => {
      await skills.remove(user, params.id, origin)
      return undefined
    }),
    endpoint(contract.search, async ({ user, query, signal }) => ({
      skills: await skills.search(user, query.q, signal),
    })),
    endpoint(contract.install, async (context) => {
      const { user, params, body, origin, signal } = context
      return answer(await skills.install(user, params.slug, body, origin, signal, stagesTo(context)))
    }),
  ]
}

function stagesTo(context: { tell(event: string, data: InstallStage): void }): TellStage {
  return (stage, amount) => context.tell("stage", { stage, bytes: amount?.bytes ?? null, total: amount?.total ?? null })
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
