import { z } from "zod"
import { AgentParams, define, KIB, UserParams, WELL_FORMED, wellFormed } from "./common.ts"

export const TEMPLATE_NAMES = ["SOUL.md", "USER.md", "TOOLS.md", "HEARTBEAT.md"] as const
export type TemplateName = (typeof TEMPLATE_NAMES)[number]

const Text = z
  .string()
  .refine((text) => Buffer.byteLength(text) <= 64 * KIB, "at most 64 KiB")
  .refine(wellFormed, WELL_FORMED)

/** Some of the four texts; `null` takes the override away. */
export const TemplateTexts = z
  .strictObject({
    "SOUL.md": Text.nullable(),
    "USER.md": Text.nullable(),
    "TOOLS.md": Text.nullable(),
    "HEARTBEAT.md": Text.nullable(),
  })
  .partial()
export type TemplateTexts = z.infer<typeof TemplateTexts>

const Four = z.object({
  "SOUL.md": z.string(),
  "USER.md": z.string(),
  "TOOLS.md": z.string(),
  "HEARTBEAT.md": z.string(),
})
const some = <T extends z.ZodType>(value: T) =>
  z.object({ "SOUL.md": value, "USER.md": value, "TOOLS.md": value, "HEARTBEAT.md": value })

export const PlatformTemplates = z
  .object({ templates: Four, source: some(z.enum(["builtin", "platform"])) })
  .meta({ id: "PlatformTemplates" })
export const UserTemplates = z
  .object({ templates: Four, source: some(z.enum(["platform", "user"])) })
  .meta({ id: "UserTemplates" })
export const AgentTemplates = z
  .object({
    templates: Four.partial().meta({ description: "The agent's overrides alone." }),
    effective: Four,
    source: some(z.enum(["platform", "user", "agent"])),
  })
  .meta({ id: "AgentTemplates" })

const Body = z.strictObject({ templates: TemplateTexts })
const example = { body: { templates: { "SOUL.md": "You are calm and exact." } } }

export const templates = {
  platformGet: define("Templates", {
    id: "templates.platformGet",
    call: "GET /agent-templates",
    access: "platform",
    summary: "Get the platform's templates",
    description: "The four texts that every agent starts from.",
    answer: PlatformTemplates,
    example: {},
  }),
  platformPut: define("Templates", {
    id: "templates.platformPut",
    call: "PUT /agent-templates",
    access: "platform",
    summary: "Change the platform's templates",
    description: "Those named are set; `null` returns to the built-in text.",
    body: Body,
    answer: PlatformTemplates,
    example,
  }),
  userGet: define("Templates", {
    id: "templates.userGet",
    call: "GET /U/agent-templates",
    access: "owner",
    summary: "Get user-level default templates",
    description: "The four texts in force for this user, and where each comes from.",
    params: UserParams,
    answer: UserTemplates,
    example: {},
  }),
  userPut: define("Templates", {
    id: "templates.userPut",
    call: "PUT /U/agent-templates",
    access: "owner",
    summary: "Update user-level default templates",
    description: "Those named are set; `null` returns to the platform's.",
    params: UserParams,
    body: Body,
    answer: UserTemplates,
    example,
  }),
  agentGet: define("Templates", {
    id: "templates.agentGet",
    call: "GET /A/templates",
    access: "owner",
    summary: "Get per-agent template overrides",
    description: "The overrides, the four texts in force, and where each comes from.",
    params: AgentParams,
    answer: AgentTemplates,
    example: {},
  }),
  agentPut: define("Templates", {
    id: "templates.agentPut",
    call: "PUT /A/templates",
    access: "owner",
    summary: "Update per-agent template overrides",
    description: "Those named are set; `null` returns to the user's. Read at the start of each conversation.",
    params: AgentParams,
    body: Body,
    answer: AgentTemplates,
    example,
  }),
}
