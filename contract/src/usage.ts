import { z } from "zod"
import { define, Name, NextCursor, Page, Time, UserParams } from "./common.ts"

export const Tokens = z
  .object({
    input: z.number().int(),
    output: z.number().int(),
    cache_read: z.number().int(),
    cache_write: z.number().int(),
    total: z.number().int(),
  })
  .meta({ id: "Tokens" })

const sums = {
  tokens: Tokens,
  cost_usd: z.number(),
  runs: z.number().int(),
  estimated: z.boolean().meta({ description: "True where a provider gave no count for some call." }),
}

export const UsageReport = z
  .object({
    month: z.string(),
    ...sums,
    limit_tokens: z.number().int().nullable(),
    by_agent: z.array(z.object({ agent: z.string(), ...sums })),
    by_model: z.array(z.object({ model: z.string(), ...sums })),
    by_day: z.array(z.object({ date: z.string(), ...sums })),
  })
  .meta({ id: "UsageReport" })
export type UsageReport = z.infer<typeof UsageReport>

export const LogEntry = z
  .object({
    time: Time,
    level: z.enum(["debug", "info", "warn", "error"]),
    agent: z.string().nullable(),
    run_id: z.string().nullable(),
    source: z.enum(["sandbox", "agent", "platform"]),
    message: z.string(),
  })
  .meta({ id: "LogEntry" })
export type LogEntry = z.infer<typeof LogEntry>

const LogQuery = z.strictObject({
  tail: z.coerce.number().int().min(0).max(10_000).default(200),
  agent: Name.optional(),
  since: z.iso.datetime({ offset: true }).optional(),
  follow: z.enum(["true", "false"]).optional(),
})
const Logs = z.object({ logs: z.array(LogEntry) }).meta({ id: "Logs" })

export const AuditEntry = z
  .object({
    time: Time,
    actor: z.string(),
    action: z.string(),
    target: z.string(),
    ip: z.string().nullable(),
    request_id: z.string(),
  })
  .meta({ id: "AuditEntry" })
export type AuditEntry = z.infer<typeof AuditEntry>
const Audit = z.object({ entries: z.array(AuditEntry), next_cursor: NextCursor }).meta({ id: "Audit" })

export const usage = {
  get: define("Usage & Monitoring", {
    id: "usage.get",
    call: "GET /U/usage",
    access: "owner",
    summary: "Get token usage for a month",
    description: "Sums of the providers' own counts by agent, model and day. The current month (UTC) unless told.",
    params: UserParams,
    query: z.strictObject({
      month: z
        .string()
        .regex(/^\d{4}-(0[1-9]|1[0-2])$/, "YYYY-MM")
        .optional(),
    }),
    answer: UsageReport,
    example: {},
  }),
  logs: define("Usage & Monitoring", {
    id: "logs.user",
    call: "GET /U/logs",
    access: "owner",
    summary: "Get container logs",
    description:
      "What platform, agents and sandboxes wrote, the newest `tail` lines, oldest first. `Accept: text/plain` gives lines; `follow=true` goes on as server-sent events.",
    params: UserParams,
    query: LogQuery,
    answer: Logs,
    also: ["text/plain", "text/event-stream"],
    example: { query: { tail: "20" } },
  }),
  platformLogs: define("Platform", {
    id: "logs.platform",
    call: "GET /logs",
    access: "platform",
    summary: "Get the platform's logs",
    description: "What the platform itself wrote, in the same forms as a user's logs.",
    query: LogQuery.omit({ agent: true }),
    answer: Logs,
    also: ["text/plain", "text/event-stream"],
    example: { query: { tail: "20" } },
  }),
  audit: define("Usage & Monitoring", {
    id: "audit.user",
    call: "GET /U/audit",
    access: "owner",
    summary: "List the changes to an account",
    description: "Who changed what and from where, the newest first.",
    params: UserParams,
    query: z.strictObject(Page),
    answer: Audit,
    example: {},
  }),
  platformAudit: define("Platform", {
    id: "audit.platform",
    call: "GET /audit",
    access: "platform",
    summary: "List all changes on the platform",
    description: "Who changed what and from where, the newest first.",
    query: z.strictObject(Page),
    answer: Audit,
    example: {},
  }),
}
