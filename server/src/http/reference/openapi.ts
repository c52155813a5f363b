import { STREAM_EVENTS } from "@autonomis/contract/chat.ts"
import type { Endpoint } from "@autonomis/contract/endpoint.ts"
import { ErrorBody } from "@autonomis/contract/errors.ts"
import { z } from "zod"
import {
  createDocument,
  type ZodOpenApiContentObject,
  type ZodOpenApiOperationObject,
  type ZodOpenApiResponsesObject,
} from "zod-openapi"
import { fullPath } from "../paths.ts"
import { accessWords, errorStatuses } from "./statuses.ts"

const INTRODUCTION = `Run teams of autonomous AI agents: users, agents, chats, files, secrets and skills.

**Keys.** Send an API key as \`X-API-Key\` (or \`Authorization: Bearer\`). An administrator's key may do everything, a user's
key everything of its own account, an agent's key may use that agent.

**Errors** look like \`{"error":"agent not found"}\`; a machine-readable \`code\`, and \`details\` for bad input, may stand beside
it. What belongs to somebody else is 404, as if it were not there. Every response has an \`X-Request-Id\`.

**Lists** take \`limit\` and \`cursor\` and answer with \`next_cursor\`, null on the last page.

**Repeats.** A POST with an \`Idempotency-Key\` is done once: the same key and body within 24 hours gets the first answer again.`

const DESCRIPTIONS: Record<number, string> = {
  200: "Done.",
  201: "Created.",
  202: "Accepted; it goes on in the background.",
  204: "Done; no content.",
  206: "The part that `Range` asked for.",
  304: "Not changed since the `ETag` in `If-None-Match`.",
}

/** The OpenAPI 3.1 document of these endpoints. `serverUrl` without a slash at the end. */
export function makeOpenApi(endpoints: readonly Endpoint[], serverUrl: string, version: string) {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {}
  for (const endpoint of endpoints) {
    const path = fullPath(endpoint).replace(/\{(\w+)\*\}/g, "{$1}")
    paths[path] = { ...paths[path], [endpoint.method.toLowerCase()]: operation(endpoint) }
  }
  const document = createDocument({
    openapi: "3.1.0",
    info: {
      title: "Autonomis API",
      version,
      summary: "REST API for teams of autonomous AI agents.",
      description: INTRODUCTION,
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: serverUrl }],
    security: [{ apiKey: [] }, { bearer: [] }],
    tags: [...new Set(endpoints.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: {
        apiKey: { type: "apiKey", in: "header", name: "X-API-Key" },
        bearer: { type: "http", scheme: "bearer", description: "The same keys." },
      },
    },
  })
  for (const endpoint of endpoints) {
    const at = document.paths?.[fullPath(endpoint).replace(/\{(\w+)\*\}/g, "{$1}")]
    addParameterExamples(endpoint, at?.[endpoint.method.toLowerCase() as "get"]?.parameters ?? [])
  }
  return document
}

function operation(endpoint: Endpoint): ZodOpenApiOperationObject {
  const { tag, summary, description, example, access } = endpoint
  const who = accessWords(endpoint)
  return {
    operationId: endpoint.id,
    tags: [tag],
    summary,
    description: `${description}\n\n**Who:** ${who}`,
    "x-access": access,
    ...(access === "public" ? { security: [] } : {}),
    requestParams: {
      ...(hasFields(endpoint.params) ? { path: endpoint.params } : {}),
      ...(hasFields(endpoint.query) ? { query: endpoint.query } : {}),
      ...headersOf(endpoint),
    },
    ...(endpoint.bodyKind === "none"
      ? {}
      : {
          requestBody: {
            required: !endpoint.bodyOptional,
            content: requestContent(endpoint, example?.body),
          },
        }),
    responses: { ...successes(endpoint), ...failures(endpoint) },
  }
}

const hasFields = (schema: z.ZodObject): boolean => Object.keys(schema.shape).length > 0

function headersOf({ method, access, produces, id }: Endpoint) {
  const headers: Record<string, z.ZodType> = {}
  if (method === "POST" && access !== "public")
    headers["Idempotency-Key"] = z
      .string()
      .max(255)
      .optional()
      .meta({ description: "1 to 255 visible ASCII characters; a repeat with it gets the first answer." })
  if (produces === "sse" && id !== "chat.stream")
    headers["Last-Event-ID"] = z.string().optional().meta({ description: "The last event that was received." })
  return Object.keys(headers).length > 0 ? { header: z.object(headers) } : {}
}

function requestContent({ bodyKind, body, example, id }: Endpoint, value: unknown): ZodOpenApiContentObject {
  if (bodyKind === "json")
    return { "application/json": { schema: body, ...(value === undefined ? {} : { example: value }) } }
  const types = id === "skills.upload" ? ["text/markdown", "application/zip"] : ["application/octet-stream"]
  const given = example?.contentType
  const all = given === undefined || types.includes(given) ? types : [...types, given]
  return Object.fromEntries(all.map((type) => [type, type === given ? { schema: {}, example: value } : { schema: {} }]))
}

function successes(endpoint: Endpoint): ZodOpenApiResponsesObject {
  const { statuses, method, produces } = endpoint
  const all = method === "GET" && produces === "json" ? [...statuses, 304] : statuses
  const entries = all.map((status) => {
    const description = DESCRIPTIONS[status] ?? "Done."
    const content = status === 204 || status === 304 ? null : answerContent(endpoint)
    return [String(status), content === null ? { description } : { description, content }] as const
  })
  return Object.fromEntries(entries)
}

function answerContent({ produces, answer, also, example }: Endpoint): ZodOpenApiContentObject | null {
  const json = {
    "application/json": {
      schema: answer,
      ...(example?.response === undefined ? {} : { example: example.response }),
    },
  }
  const others = Object.fromEntries(also.map((type) => [type, { schema: { type: "string" as const } }]))
  switch (produces) {
    case "json":
      return { ...json, ...others }
    case "bytes":
      return {
        "application/octet-stream": { schema: {} },
        ...(answer instanceof z.ZodUndefined ? {} : json),
        ...others,
      }
    case "sse":
      return { "text/event-stream": { schema: { type: "string", description: eventWords() } } }
    case "none":
      return null
  }
}

const eventWords = () =>
  `Each event has an \`id\` that counts up, a name, and JSON data: ${Object.keys(STREAM_EVENTS).join(", ")}.`

function failures(endpoint: Endpoint): ZodOpenApiResponsesObject {
  const entries = [...errorStatuses(endpoint)].map(([status, why]) => {
    const text = why.join("; or ")
    const description = `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`
    return [String(status), { description, content: { "application/json": { schema: ErrorBody } } }] as const
  })
  return Object.fromEntries(entries)
}

function addParameterExamples({ example, path }: Endpoint, parameters: object[]): void {
  const names: Record<string, string> = { user: "ada", agent: "manager", ...example?.params, ...example?.query }
  for (const parameter of parameters) {
    if (!("name" in parameter) || typeof parameter.name !== "string") continue
    const value = names[parameter.name]
    // Placeholders stand for what the test that runs the examples makes itself.
    if (value === undefined || value.startsWith("{")) continue
    Object.assign(parameter, {
      example: /^\d+$/.test(value) && !path.includes(`{${parameter.name}`) ? Number(value) : value,
    })
  }
}
