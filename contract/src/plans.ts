import { z } from "zod"
import { define } from "./common.ts"
import { PlanNetwork } from "./network.ts"

const count = z.number().int().min(0).nullable()
const usd = z.number().min(0).nullable()

export const SandboxLimits = z.object({
  memory_bytes: z.number().int().positive(),
  cpus: z.number().positive(),
  pids: z.number().int().positive(),
  network: PlanNetwork.optional(),
})

/** `null` is unlimited; a sandbox's limits are never null. */
export const Limits = z
  .object({
    agents: count,
    tokens_per_month: count,
    usd_per_month: usd,
    usd_per_day: usd,
    storage_bytes: count,
    requests_per_minute: count,
    concurrent_runs: count,
    sandbox: SandboxLimits,
  })
  .meta({ id: "Limits" })
export type Limits = z.infer<typeof Limits>

export const Tier = z.string().regex(/^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$/, "a tier's name")

export const Plans = z
  .object({ plans: z.array(z.object({ tier: Tier, limits: Limits })), default: Tier })
  .meta({ id: "Plans" })
export type Plans = z.infer<typeof Plans>

export const plans = {
  list: define("Users", {
    id: "plans.list",
    call: "GET /plans",
    access: "any",
    summary: "List the plans",
    description: "Every plan with its limits, and the one that new users get. `null` is unlimited.",
    answer: Plans,
    example: {},
  }),
}
