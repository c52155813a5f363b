import { z } from "zod"
import { define, Name, Time, UserParams } from "./common.ts"

export const PlatformStatus = z
  .object({
    version: z.string(),
    started_at: Time,
    sandboxes_open: z.number().int(),
    runs: z.number().int(),
    database: z.string(),
    sandbox: z.object({
      driver: z.string(),
      holds: z.array(z.string()),
      egress: z
        .object({
          connections: z.number().int(),
          refused: z.number().int(),
          bytes_out: z.number().int(),
          bytes_in: z.number().int(),
        })
        .meta({ description: "Connections of sandboxes outwards, on this server, since its start." }),
    }),
    providers: z.array(z.object({ name: z.string(), key: z.boolean(), errors_last_hour: z.number().int() })),
    paused: z.boolean(),
  })
  .meta({ id: "PlatformStatus" })
export type PlatformStatus = z.infer<typeof PlatformStatus>

const Paused = z.strictObject({ paused: z.boolean() })

/** Who calls: what the dashboard shows first. */
export const Me = z
  .object({
    kind: z.enum(["admin", "user", "agent"]),
    user: Name.nullable().meta({ description: "Null for an administrator." }),
    agent: Name.nullable().meta({ description: "Set for an agent's key alone." }),
    impersonated_by: z.string().nullable().meta({ description: "An administrator who looks at this account." }),
  })
  .meta({ id: "Me" })
export type Me = z.infer<typeof Me>

export const platform = {
  me: define("Platform", {
    id: "me.get",
    call: "GET /me",
    access: "any",
    summary: "Who am I",
    description: "Whose key or sign-in this request came with.",
    answer: Me,
    example: {},
  }),
  status: define("Platform", {
    id: "platform.status",
    call: "GET /status",
    access: "platform",
    summary: "How the platform is",
    description: "Open sandboxes and what holds them, runs, database, providers, and whether new runs are paused.",
    answer: PlatformStatus,
    example: {},
  }),
  pause: define("Platform", {
    id: "platform.pause",
    call: "PUT /pause",
    access: "platform",
    summary: "Stop taking new runs, or take them again",
    description: "Runs under way go on.",
    body: Paused,
    answer: Paused,
    example: { body: { paused: false } },
  }),
  signIn: define("Platform", {
    id: "session.create",
    call: "POST /session",
    access: "public",
    summary: "Sign in to the dashboard",
    description:
      "Sets the dashboard's cookie for an API key of any kind, or for a one-time link's token. `return` ends looking at an account and brings back the administrator's own sign-in, which `impersonate` had set aside in a cookie of its own.",
    body: z.union([
      z.strictObject({ api_key: z.string().max(200) }),
      z.strictObject({ token: z.string().max(200) }),
      z.strictObject({ return: z.literal(true) }),
    ]),
    // Anyone may send it, and hold what has come of it for minutes.
    maxBodyBytes: 16 * 1024,
    errors: ["unauthorized", "forbidden", "rate_limited"],
    example: { body: { api_key: "{api_key}" } },
  }),
  signOut: define("Platform", {
    id: "session.delete",
    call: "DELETE /session",
    access: "any",
    summary: "Sign out",
    description:
      "Ends this sign-in, or with `all=true` every sign-in of this account; of an administrator who looks at an account, the administrator's.",
    query: z.strictObject({ all: z.enum(["true", "false"]).optional() }),
    example: {},
  }),
  signInLink: define("Platform", {
    id: "users.signInLink",
    call: "POST /U/sign-in-link",
    access: "owner-admin",
    summary: "Make a link that signs the user in",
    description: "Opens the dashboard once, within 10 minutes.",
    params: UserParams,
    answer: z.object({ url: z.string(), expires_at: Time }).meta({ id: "SignInLink" }),
    example: {},
  }),
  impersonate: define("Platform", {
    id: "users.impersonate",
    call: "POST /U/impersonate",
    access: "owner-admin",
    summary: "Look at this account as its user",
    description: "Sets the dashboard's cookie for one hour; audited.",
    params: UserParams,
    example: {},
  }),
}
