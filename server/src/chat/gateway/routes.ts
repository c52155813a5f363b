import { type Context, endpoint, type Route, SENT } from "../../http/endpoint.ts"
import { openSse, type SseStream } from "../../http/sse.ts"
import { AppError } from "../../lib/errors.ts"
import type { Chat } from "../chat.ts"
import type { LiveRun } from "../live-run.ts"
import { answerOf, appErrorOf, heldBy } from "../routes.ts"
import type { RunEnd } from "../rows.ts"
import { gateway } from "./endpoints.ts"
import { listenToText } from "./text.ts"
import { finishReason, translate, usageOf } from "./translate.ts"

/** A stream's headers wait so long for the first text, so that a run that fails at once is answered by its status. */
const HEADERS_WAIT_MS = 15_000

type Complete = Context<typeof gateway.complete>

/** `/gateway/{user}/{agent}/v1`: the agent as a model of OpenAI's. Errors get OpenAI's form by their path. */
export function gatewayRoutes(chat: Chat): Route[] {
  const modelOf = (user: string, agent: string) => ({ id: agent, object: "model" as const, created: 0, owned_by: user })
  return [
    endpoint(gateway.complete, async (context) => {
      const { user, agent, body, idempotency, signal, reply } = context
      const { large } = context.request
      const { messages, ...wish } = translate(body, agent.name, large?.lifted)
      const bindRun = idempotency?.bindRun
      const asked = { user, agent, messages, session: null, patience: null, ...wish, ...heldBy(large) }
      const run = await chat
        .submit({ ...asked, ...(bindRun ? { bindRun } : {}) })
        .catch((error: unknown) => refuse(reply, error))
      const cancel = () => run.cancel()
      if (signal.aborted) cancel()
      signal.addEventListener("abort", cancel, { once: true })
      try {
        return await (body.stream ? streamed(run, context) : whole(run, context))
      } catch (error) {
        return refuse(reply, error)
      } finally {
        signal.removeEventListener("abort", cancel)
      }
    }),
    endpoint(gateway.models, async ({ user, agent }) => ({
      object: "list" as const,
      data: [modelOf(user.name, agent.name)],
    })),
    endpoint(gateway.model, async ({ user, agent, params }) => {
      if (params.model === agent.name) return modelOf(user.name, agent.name)
      throw new AppError("not_found", `the model ${JSON.stringify(params.model)} does not exist`)
    }),
  ]
}

/** Clients repeat a 409 and a 429 by themselves; what a repeat cannot change says so. */
function refuse(reply: Complete["reply"], error: unknown): never {
  if (error instanceof AppError && (error.code === "budget_exhausted" || error.code === "cancelled"))
    reply.header("x-should-retry", "false")
  throw error
}

const head = (run: LiveRun) => ({
  id: `chatcmpl-${run.id}`,
  created: Math.floor(run.createdAt / 1000),
  model: run.agentName,
})

async function whole(run: LiveRun, _context: Complete) {
  let text = ""
  let before = 0
  const leave = listenToText(run, {
    text(piece) {
      text += piece
    },
    reset() {
      text = text.slice(0, before)
    },
    busy() {
      before = text.length
    },
  })
  const answer = answerOf(await run.ended.finally(leave))
  return {
    ...head(run),
    object: "chat.completion" as const,
    choices: [
      {
        index: 0,
        message: { role: "assistant" as const, content: text === "" ? answer.message : text, refusal: null },
        logprobs: null,
        finish_reason: finishReason(answer.stop_reason),
      },
    ],
    usage: usageOf(answer),
  }
}

async function streamed(run: LiveRun, context: Complete): Promise<typeof SENT> {
  const withUsage = context.body.stream_options?.include_usage === true
  const chunk = (choices: unknown[], more: object = {}) =>
    JSON.stringify({
      ...head(run),
      object: "chat.completion.chunk",
      choices,
      ...(withUsage ? { usage: null } : {}),
      ...more,
    })
  const piece = (delta: object, reason: string | null = null) =>
    chunk([{ index: 0, delta, logprobs: null, finish_reason: reason }])

  let sse: SseStream | null = null
  const opened = () => {
    if (sse === null) {
      sse = openSse(context)
      sse.closed.addEventListener("abort", () => run.cancel(), { once: true })
      sse.line(piece({ role: "assistant", content: "" }))
    }
    return sse
  }
  let voided = false
  const leave = listenToText(run, {
    text: (content) => opened().line(piece({ content })),
    reset(shown) {
      // What is on its way to the client cannot be taken back.
      if (shown) voided = true
      if (shown) run.cancel()
    },
    busy: () => void opened(),
  })
  const late = setTimeout(opened, HEADERS_WAIT_MS)
  const end: RunEnd = await run.ended
  clearTimeout(late)
  leave()
  if (end.state !== "succeeded" && sse === null) throw appErrorOf(end.error)
  const stream = opened()
  if (end.state === "succeeded") {
    if (stream.closed.aborted) return SENT
    stream.line(piece({}, finishReason(end.answer.stop_reason)))
    if (withUsage) stream.line(chunk([], { usage: usageOf(end.answer) }))
    stream.line("[DONE]")
  } else {
    const message = voided ? "the model's answer broke off and had to begin anew" : end.error.error
    stream.line(JSON.stringify({ error: { message, type: "server_error", code: end.error.code, param: null } }))
  }
  stream.close()
  return SENT
}
