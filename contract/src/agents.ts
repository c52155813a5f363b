import { z } from "zod"
import { AgentParams, define, Name, NextCursor, Page, Time, UserParams, WELL_FORMED, wellFormed } from "./common.ts"
import { allowedDomains, domainList } from "./network.ts"
import { TemplateTexts } from "./templates.ts"

/** `provider/model`, e.g. `anthropic/claude-sonnet-4-5`. */
export const ModelId = z
  .string()
  .min(3)
  .max(200)
  .regex(/^[a-z0-9][a-z0-9-]*\/[^\s\p{C}]+$/u, "provider/model, e.g. anthropic/claude-sonnet-4-5")

export const TOOL_NAMES = ["bash", "read", "write", "edit"] as const
const Tools = z.strictObject({ bash: z.boolean(), read: z.boolean(), write: z.boolean(), edit: z.boolean() })

/** An agent's settings with the defaults filled in. */
export const AgentConfig = z
  .strictObject({
    model: ModelId.nullable().meta({ description: "null: the platform's default." }),
    thinking: z.enum(["off", "low", "medium", "high"]),
    max_turns: z.number().int().min(1).max(1000),
    max_output_tokens: z.number().int().min(256).max(1_000_000),
    tools: Tools,
    network: z.enum(["none", "egress"]).meta({
      description:
        "`egress`: commands may reach public addresses on the allowed ports, by the server's proxy. From the next command on.",
    }),
    network_allow: allowedDomains(100).meta({
      description: "With `egress`: only these domains and all below them. null: all that the plan allows.",
    }),
    network_deny: domainList(100).meta({
      description: "With `egress`: none of these domains nor what is below them.",
    }),
  })
  .meta({ id: "AgentConfig" })
export type AgentConfig = z.infer<typeof AgentConfig>

export const DEFAULT_CONFIG: AgentConfig = {
  model: null,
  thinking: "off",
  max_turns: 50,
  max_output_tokens: 8192,
  tools: { bash: true, read: true, write: true, edit: true },
  network: "none",
  network_allow: null,
  network_deny: [],
}

/** What is set; a field left out or null has its default. Also the form of a JSON Merge Patch. */
export const AgentConfigPatch = z
  .strictObject({
    model: AgentConfig.shape.model,
    thinking: AgentConfig.shape.thinking.nullable(),
    max_turns: AgentConfig.shape.max_turns.nullable(),
    max_output_tokens: AgentConfig.shape.max_output_tokens.nullable(),
    tools: z
      .strictObject({
        bash: z.boolean().nullable(),
        read: z.boolean().nullable(),
        write: z.boolean().nullable(),
        edit: z.boolean().nullable(),
      })
      .partial()
      .nullable(),
    network: AgentConfig.shape.network.nullable(),
    network_allow: AgentConfig.shape.network_allow,
    network_deny: AgentConfig.shape.network_deny.nullable(),
  })
  .partial()
  .meta({ id: "AgentConfigPatch" })
export type AgentConfigPatch = z.infer<typeof AgentConfigPatch>

export const Agent = z
  .object({
    name: Name,
    description: z.string().nullable(),
    default: z.boolean(),
    model: z.string().meta({ description: "What a message would use now." }),
    state: z.enum(["ready", "running", "deploying", "failed"]),
    config: AgentConfig,
    created_at: Time,
    last_active_at: Time.nullable(),
  })
  .meta({ id: "Agent" })
export type Agent = z.infer<typeof Agent>

const Description = z.string().max(1000).refine(wellFormed, WELL_FORMED)

export const SecretsInput = z.union([
  z.record(z.string(), z.string()),
  z.array(z.strictObject({ key: z.string(), value: z.string(), agents: z.array(Name).min(1).max(1000).nullish() })),
])

const NewAgentFields = {
  name: Name,
  description: Description.nullish(),
  model: ModelId.nullish(),
  default: z.boolean().optional(),
  config: AgentConfigPatch.optional(),
  templates: TemplateTexts.optional(),
}
export const NewAgent = z.strictObject(NewAgentFields).meta({ id: "NewAgent" })
export type NewAgent = z.infer<typeof NewAgent>

export const NewAgents = z
  .union([
    z.strictObject({ agents: z.array(NewAgent).min(1).max(100), secrets: SecretsInput.optional() }),
    z.strictObject({ ...NewAgentFields, secrets: SecretsInput.optional() }),
  ])
  .meta({ id: "NewAgents" })

export const GraceBody = z.strictObject({
  grace_seconds: z
    .number()
    .int()
    .min(0)
    .max(86_400)
    .default(0)
    .meta({ description: "How long the old key goes on working." }),
})
export const NewKey = z.object({ api_key: z.string() }).meta({ id: "NewKey" })

export const DeployStatus = z
  .object({
    status: z.enum(["pending", "deploying", "ready", "failed"]),
    progress: z.number().int().min(0).max(100),
    steps: z.array(
      z.object({
        agent: Name,
        name: z.string(),
        status: z.enum(["pending", "running", "done", "failed"]),
        started_at: Time.nullable(),
        finished_at: Time.nullable(),
        error: z.object({ cause: z.string(), cure: z.string() }).nullable(),
      }),
    ),
    agents: z.array(z.object({ name: Name, state: Agent.shape.state })),
  })
  .meta({ id: "DeployStatus" })
export type DeployStatus = z.infer<typeof DeployStatus>

export const agents = {
  create: define("Agents", {
    id: "agents.create",
    call: "POST /U/agents",
    access: "owner",
    summary: "Create one or more agents",
    description:
      "Takes one agent, or `{agents:[…]}` for many: all are made or none. Each answer holds the agent's own key, shown this once. The user's first agent is the default one.",
    params: UserParams,
    body: NewAgents,
    answer: z.object({ agents: z.array(Agent.extend({ api_key: z.string() })) }),
    statuses: [201],
    errors: ["conflict", "plan_limit"],
    example: { body: { name: "manager", description: "Looks after the others." } },
  }),
  list: define("Agents", {
    id: "agents.list",
    call: "GET /U/agents",
    access: "owner",
    summary: "List a user's agents",
    description: "In order of their names.",
    params: UserParams,
    query: z.strictObject(Page),
    answer: z.object({ agents: z.array(Agent), next_cursor: NextCursor }),
    example: {},
  }),
  get: define("Agents", {
    id: "agents.get",
    call: "GET /A",
    access: "agent",
    summary: "Get an agent",
    description: "The agent with its settings, the defaults filled in.",
    params: AgentParams,
    answer: Agent,
    example: {},
  }),
  update: define("Agents", {
    id: "agents.update",
    call: "PATCH /A",
    access: "owner",
    summary: "Change an agent's description, or make it the default",
    description: "Only `true` is taken for `default`: another agent becomes the default by being made so.",
    params: AgentParams,
    body: z.strictObject({ description: Description.nullable().optional(), default: z.literal(true).optional() }),
    bodyOptional: true,
    answer: Agent,
    example: { body: { description: "Looks after the others." } },
  }),
  configure: define("Agents", {
    id: "agents.configure",
    call: "PATCH /A/config",
    access: "owner",
    summary: "Change an agent's settings",
    description:
      "A JSON Merge Patch (RFC 7396) of `config`; `null` returns a field to its default, and a list replaces a list. Takes effect on the next message; the network from the next command on.",
    params: AgentParams,
    body: AgentConfigPatch,
    bodyOptional: true,
    answer: Agent,
    errors: ["plan_limit"],
    example: { body: { max_turns: 20, tools: { bash: false } } },
  }),
  delete: define("Agents", {
    id: "agents.delete",
    call: "DELETE /A",
    access: "owner",
    summary: "Delete an agent",
    description:
      "With its workspace, sessions and keys. If it was the default, the oldest agent left becomes the default.",
    params: AgentParams,
    example: {},
  }),
  rotateKey: define("Agents", {
    id: "agents.rotateKey",
    call: "POST /A/rotate-key",
    access: "owner",
    summary: "Make a new API key for an agent",
    description: "The old key stops at once, or after `grace_seconds`.",
    params: AgentParams,
    body: GraceBody,
    bodyOptional: true,
    answer: NewKey,
    example: { body: { grace_seconds: 3600 } },
  }),
  ping: define("Agents", {
    id: "agents.ping",
    call: "GET /A/ping",
    access: "agent",
    summary: "Check whether an agent is online",
    description: "`online` means that a chat sent now would be taken. Spends no tokens and wakes nothing.",
    params: AgentParams,
    answer: z
      .object({
        online: z.boolean(),
        latency_ms: z.number(),
        model: z.enum(["ready", "missing_key", "demo"]),
        sandbox: z.enum(["idle", "running", "failed"]),
        checked_at: Time,
      })
      .meta({ id: "Ping" }),
    example: {},
  }),
  connect: define("Agents", {
    id: "agents.connect",
    call: "GET /A/connect",
    access: "agent",
    summary: "Get gateway connection details",
    description: "Where any OpenAI client finds this agent, with a token that is good for an hour.",
    params: AgentParams,
    answer: z
      .object({
        protocol: z.literal("openai"),
        base_url: z.string(),
        model: z.string(),
        token: z.string(),
        expires_at: Time,
      })
      .meta({ id: "Connection" }),
    example: {},
  }),
  deployStatus: define("Agents", {
    id: "agents.deployStatus",
    call: "GET /U/deploy/status",
    access: "owner",
    summary: "Check deployment progress",
    description:
      "Where each agent's set-up stands, step by step, with cause and cure of a failure. With `Accept: text/event-stream` each change as it comes, ending at `ready` or `failed`.",
    params: UserParams,
    answer: DeployStatus,
    also: ["text/event-stream"],
    example: {},
  }),
}
