import { MAX_CHAT_BYTES } from "@autonomis/contract/chat.ts"
import { AgentParams, define, WELL_FORMED, wellFormed } from "@autonomis/contract/common.ts"
import { z } from "zod"

/**
 * OpenAI's wire form, as far as it is served. Fields that it has and this has not are let through and ignored, as
 * OpenAI does with fields that it does not know; so these objects are loose, unlike all others of the API.
 */
const Text = z.string().refine(wellFormed, WELL_FORMED)
const TextPart = z.looseObject({ type: z.literal("text"), text: Text })
const RefusalPart = z.looseObject({ type: z.literal("refusal"), refusal: Text })
const ImagePart = z.looseObject({ type: z.literal("image_url"), image_url: z.looseObject({ url: z.string() }) })

const Texts = z.union([Text, z.array(TextPart).min(1)])
const System = z.looseObject({ role: z.enum(["system", "developer"]), content: Texts })
const User = z.looseObject({
  role: z.literal("user"),
  content: z.union([Text.min(1), z.array(z.discriminatedUnion("type", [TextPart, ImagePart])).min(1)]),
})
const Assistant = z.looseObject({
  role: z.literal("assistant"),
  content: z.union([Text, z.array(z.discriminatedUnion("type", [TextPart, RefusalPart]))]).nullish(),
})
const Message = z.discriminatedUnion("role", [System, User, Assistant])
export type GatewayMessage = z.infer<typeof Message>

const MaxTokens = z.number().int().min(1).max(10_000_000).nullish()

export const ChatCompletionRequest = z.looseObject({
  messages: z.array(Message).min(1).max(1000),
  model: z.string().max(200).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  max_tokens: MaxTokens,
  max_completion_tokens: MaxTokens,
  stop: z.union([Text.min(1), z.array(Text.min(1)).max(4)]).nullish(),
  n: z.literal(1, "only one choice is made").nullish(),
})
export type ChatCompletionRequest = z.infer<typeof ChatCompletionRequest>

const CompletionUsage = z.object({
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  total_tokens: z.number(),
  prompt_tokens_details: z.object({ cached_tokens: z.number() }),
})
export type CompletionUsage = z.infer<typeof CompletionUsage>

const ChatCompletion = z.object({
  id: z.string(),
  object: z.literal("chat.completion"),
  created: z.number(),
  model: z.string(),
  choices: z.array(
    z.object({
      index: z.number(),
      message: z.object({ role: z.literal("assistant"), content: z.string(), refusal: z.null() }),
      logprobs: z.null(),
      finish_reason: z.enum(["stop", "length"]),
    }),
  ),
  usage: CompletionUsage,
})

const Model = z.object({
  id: z.string(),
  object: z.literal("model"),
  created: z.number(),
  owned_by: z.string(),
})

const at = "/gateway/{user}/{agent}/v1" as const
const common = { access: "agent", versioned: false, params: AgentParams } as const

/** They stand beside the API's own endpoints, in OpenAI's form, and are not part of its reference. */
export const gateway = {
  complete: define("Gateway", {
    ...common,
    id: "gateway.complete",
    call: `POST ${at}/chat/completions`,
    summary: "Chat with the agent by OpenAI's protocol",
    description: "For any OpenAI client, with the token of `connect` or the agent's key as Bearer.",
    body: ChatCompletionRequest,
    maxBodyBytes: MAX_CHAT_BYTES,
    answer: ChatCompletion,
    errors: ["failed_dependency", "concurrency_limit", "budget_exhausted", "cancelled", "plan_limit"],
  }),
  models: define("Gateway", {
    ...common,
    id: "gateway.models",
    call: `GET ${at}/models`,
    summary: "The agent as a model",
    description: "One model, under the agent's name.",
    answer: z.object({ object: z.literal("list"), data: z.array(Model) }),
  }),
  model: define("Gateway", {
    ...common,
    id: "gateway.model",
    call: `GET ${at}/models/{model}`,
    summary: "The agent as a model",
    description: "The agent, if it has that name.",
    params: AgentParams.extend({ model: z.string().max(200) }),
    answer: Model,
  }),
}
