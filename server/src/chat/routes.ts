import { contract } from "@autonomis/contract/endpoints.ts"
import { ERROR_STATUS, type ErrorCode } from "@autonomis/contract/errors.ts"
import { Answer, type Context, endpoint, type Route, SENT } from "../http/endpoint.ts"
import type { LargeBody } from "../http/large-bodies.ts"
import { matches } from "../http/send.ts"
import { openSse } from "../http/sse.ts"
import { AppError } from "../lib/errors.ts"
import type { Chat, Submission } from "./chat.ts"
import { withLifted } from "./content.ts"
import type { Patience } from "./live-run.ts"
import type { RunEnd, RunError } from "./rows.ts"

const RESUME_SECONDS = 30

type Asked = Context<typeof contract.chat.send> | Context<typeof contract.chat.stream>

/** What a tenant's image may do in a browser that opens it: be seen. */
const INERT = {
  "X-Content-Type-Options": "nosniff",
  "Content-Security-Policy": "default-src 'none'; sandbox",
  "Cross-Origin-Resource-Policy": "same-origin",
}

/** The answer of a run that was waited for; throws what it failed with. */
export function answerOf(end: RunEnd) {
  if (end.state === "succeeded") return end.answer
  throw appErrorOf(end.error)
}

export function appErrorOf({ error, code, extra }: RunError): AppError {
  return new AppError(isErrorCode(code) ? code : "internal", error, extra ? { extra } : {})
}

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERROR_STATUS, code)

export function chatRoutes(chat: Chat): Route[] {
  const { chat: at } = contract
  return [
    endpoint(at.send, async (context) => {
      const { body, idempotency, signal } = context
      const run = await chat.submit({ ...submissionOf(context, null), ...bound(idempotency) })
      if (body.background)
        return new Answer(202, { run_id: run.id, state: run.state === "queued" ? "queued" : "running" })
      const cancel = () => run.cancel()
      if (signal.aborted) cancel()
      signal.addEventListener("abort", cancel, { once: true })
      try {
        const end = await run.ended
        // Nobody hears this; but it frees the Idempotency-Key, so that a repeat is a new try.
        if (signal.aborted && end.state !== "succeeded") throw new AppError("unavailable", "the client went away")
        return answerOf(end)
      } finally {
        signal.removeEventListener("abort", cancel)
      }
    }),

    endpoint(at.stream, async (context) => {
      const { user, agent, body, idempotency } = context
      if (idempotency !== null && idempotency.runId !== null) {
        await chat.runs.follow(user.id, agent, idempotency.runId, 0, () => openSse(context))
        return SENT
      }
      const patience = body.background ? null : { resumeSeconds: body.resume_seconds ?? RESUME_SECONDS }
      const run = await chat.submit({ ...submissionOf(context, patience), ...bound(idempotency) })
      await chat.runs.followOwn(run, openSse(context))
      return SENT
    }),

    endpoint(at.run, ({ user, agent, params }) => chat.runs.get(user.id, agent, params.run_id)),
    endpoint(at.runStream, async (context) => {
      const { user, agent, params, request } = context
      const after = lastEventId(request.headers["last-event-id"])
      await chat.runs.follow(user.id, agent, params.run_id, after, () => openSse(context))
      return SENT
    }),
    endpoint(at.cancelRun, ({ user, agent, params }) => chat.runs.cancel(user.id, agent, params.run_id)),

    endpoint(at.sessions, ({ user, agent, query }) => chat.sessions.list(user.id, agent, query)),
    endpoint(at.session, ({ user, agent, params, query }) => chat.sessions.read(user.id, agent, params.session, query)),
    endpoint(at.deleteSession, async ({ user, agent, params, origin }) => {
      await chat.sessions.delete(user, agent, params.session, origin)
      return undefined
    }),
    endpoint(at.cutSession, async ({ user, agent, params, origin }) => {
      await chat.sessions.cut(user, agent, params.session, params.id, origin)
      return undefined
    }),
    endpoint(at.sessionImage, async ({ user, agent, params, request, reply }) => {
      const { session, id, hash } = params
      const { mimeType, data } = await chat.sessions.image(user.id, agent, session, id, hash)
      const etag = `"${hash}"`
      reply.headers({ ...INERT, ETag: etag, "Cache-Control": "private, no-cache" })
      if (matches(request.headers["if-none-match"], etag)) await reply.code(304).send()
      else await reply.code(200).type(mimeType).send(data)
      return SENT
    }),
  ]
}

function submissionOf({ user, agent, body, request: { large } }: Asked, patience: Patience): Submission {
  const { session, model } = body
  const messages = withLifted(body.messages, large?.lifted)
  return { user, agent, messages, session: session ?? null, model: model ?? null, patience, ...heldBy(large) }
}

/** A large body counts until its run has ended. */
export function heldBy(large: LargeBody | null): Pick<Submission, "holdUntil"> {
  return large === null ? {} : { holdUntil: large.turn.holdUntil }
}

/** The request's idempotency key is tied to the run in the transaction that makes it. */
function bound(idempotency: { bindRun: Submission["bindRun"] } | null): Pick<Submission, "bindRun"> {
  return idempotency?.bindRun ? { bindRun: idempotency.bindRun } : {}
}

/** An id that no event can have means: from the beginning. */
function lastEventId(header: string | string[] | undefined): number {
  const id = Number(header ?? 0)
  return Number.isSafeInteger(id) && id > 0 ? id : 0
}
