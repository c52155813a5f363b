import { z } from "zod"
import { Agent, GraceBody, NewKey } from "./agents.ts"
import { define, Name, NextCursor, Page, Time, UserParams, WELL_FORMED, wellFormed } from "./common.ts"
import { Limits, Tier } from "./plans.ts"

const UserState = z.enum(["active", "suspended"])
const Email = z.email().max(320)
const DisplayName = z.string().min(1).max(200).refine(wellFormed, WELL_FORMED)

export const User = z
  .object({
    user: Name,
    email: z.string().nullable(),
    display_name: z.string().nullable(),
    tier: z.string(),
    state: UserState,
    limits: Limits,
    created_at: Time,
    agents: z.array(Agent),
  })
  .meta({ id: "User" })
export type User = z.infer<typeof User>

export const UserSummary = z
  .object({
    user: Name,
    email: z.string().nullable(),
    display_name: z.string().nullable(),
    tier: z.string(),
    state: UserState,
    agent_count: z.number().int(),
    created_at: Time,
  })
  .meta({ id: "UserSummary" })
export type UserSummary = z.infer<typeof UserSummary>

/** Overrides of the plan. Left out: as the plan says. `null`: unlimited. */
export const LimitOverrides = z.strictObject({
  tokens_per_month: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).nullable().optional(),
  usd_per_month: z.number().min(0).max(1e9).nullable().optional(),
  usd_per_day: z.number().min(0).max(1e9).nullable().optional(),
})
export type LimitOverrides = z.infer<typeof LimitOverrides>

export const users = {
  create: define("Users", {
    id: "users.create",
    call: "POST /users",
    access: "platform",
    summary: "Create a new user account",
    description: "The answer holds the user's API key, shown this once.",
    body: z.strictObject({
      user: Name,
      email: Email.nullish(),
      display_name: DisplayName.nullish(),
      tier: Tier.optional(),
    }),
    answer: User.extend({ api_key: z.string() }),
    statuses: [201],
    errors: ["conflict"],
    example: { body: { user: "ada", email: "ada@example.com", display_name: "Ada" } },
  }),
  list: define("Users", {
    id: "users.list",
    call: "GET /users",
    access: "platform",
    summary: "List all users",
    description: "In order of their names. `q` finds a part of the name, e-mail or display name.",
    query: z.strictObject({ ...Page, q: z.string().min(1).max(200).optional() }),
    answer: z.object({ users: z.array(UserSummary), next_cursor: NextCursor }),
    example: { query: { limit: "10" } },
  }),
  get: define("Users", {
    id: "users.get",
    call: "GET /U",
    access: "owner",
    summary: "Get user details and agents",
    description: "The user with plan, limits and all agents. The one call that a suspended user's key may still make.",
    params: UserParams,
    answer: User,
    example: {},
  }),
  delete: define("Users", {
    id: "users.delete",
    call: "DELETE /U",
    access: "owner",
    summary: "Delete a user and all their data",
    description:
      "Keys die at once, runs end, sandboxes stop; files, sessions, secrets, skills and logs are gone, and the name is free again.",
    params: UserParams,
    example: {},
  }),
  setTier: define("Users", {
    id: "users.setTier",
    call: "PUT /U/tier",
    access: "owner-admin",
    summary: "Change the user's plan",
    description: "409 when the user has more agents than the new plan allows.",
    params: UserParams,
    body: z.strictObject({ tier: Tier }),
    answer: User,
    errors: ["conflict"],
    example: { body: { tier: "pro" } },
  }),
  setLimits: define("Users", {
    id: "users.setLimits",
    call: "PUT /U/limits",
    access: "owner-admin",
    summary: "Override a user's budgets",
    description: "Replaces all overrides: a field left out falls back to the plan, `null` is unlimited.",
    params: UserParams,
    body: LimitOverrides,
    bodyOptional: true,
    answer: User,
    example: { body: { usd_per_month: 20, usd_per_day: 2 } },
  }),
  setState: define("Users", {
    id: "users.setState",
    call: "PUT /U/state",
    access: "owner-admin",
    summary: "Suspend a user, or take the suspension back",
    description: "Suspending cancels the user's runs and keeps the data.",
    params: UserParams,
    body: z.strictObject({
      state: UserState,
      reason: z.string().max(1000).refine(wellFormed, WELL_FORMED).optional(),
    }),
    answer: User,
    example: { body: { state: "active" } },
  }),
  rotateKey: define("Users", {
    id: "users.rotateKey",
    call: "POST /U/rotate-key",
    access: "owner",
    summary: "Make a new API key for a user",
    description: "The old key stops at once, or after `grace_seconds`.",
    params: UserParams,
    body: GraceBody,
    bodyOptional: true,
    answer: NewKey,
    example: { body: {} },
  }),
}
