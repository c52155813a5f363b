import type { Limits, Plans } from "@autonomis/contract/plans.ts"
import type { LimitOverrides } from "@autonomis/contract/users.ts"
import { StartError } from "../lib/start-error.ts"

const GIB = 1024 ** 3
const MIB = 1024 ** 2
const money = { usd_per_month: null, usd_per_day: null }

/** What stands without a plans file. */
export const BUILT_IN_PLANS: Plans = {
  plans: [
    {
      tier: "free",
      limits: {
        agents: 3,
        tokens_per_month: 1_000_000,
        ...money,
        storage_bytes: 256 * MIB,
        requests_per_minute: 60,
        concurrent_runs: 2,
        sandbox: { memory_bytes: 1.5 * GIB, cpus: 1, pids: 256 },
      },
    },
    {
      tier: "pro",
      limits: {
        agents: 20,
        tokens_per_month: 20_000_000,
        ...money,
        storage_bytes: 5 * GIB,
        requests_per_minute: 600,
        concurrent_runs: 10,
        sandbox: { memory_bytes: 1.5 * GIB, cpus: 1, pids: 512 },
      },
    },
    {
      tier: "enterprise",
      limits: {
        agents: null,
        tokens_per_month: null,
        ...money,
        storage_bytes: null,
        requests_per_minute: null,
        concurrent_runs: null,
        sandbox: { memory_bytes: 3 * GIB, cpus: 2, pids: 1024 },
      },
    },
  ],
  default: "free",
}

export interface PlanTable {
  /** As `GET /plans` answers. */
  readonly all: Plans
  readonly defaultTier: string
  has(tier: string): boolean
  /** A user's limits: the plan's, with the overrides put over them. */
  limitsOf(tier: string, overrides: LimitOverrides): Limits
}

export function createPlans(all: Plans = BUILT_IN_PLANS): PlanTable {
  const byTier = new Map(all.plans.map((plan) => [plan.tier, plan.limits]))
  return {
    all,
    defaultTier: all.default,
    has: (tier) => byTier.has(tier),
    limitsOf(tier, overrides) {
      const limits = byTier.get(tier)
      if (limits === undefined) throw new Error(`the tier ${JSON.stringify(tier)} is in no plan`)
      const { tokens_per_month, usd_per_month, usd_per_day } = overrides
      return {
        ...limits,
        ...(tokens_per_month === undefined ? {} : { tokens_per_month }),
        ...(usd_per_month === undefined ? {} : { usd_per_month }),
        ...(usd_per_day === undefined ? {} : { usd_per_day }),
      }
    },
  }
}

/** Stops a start whose plans lack a tier that some user has: nobody's limits may turn undefined. */
export function checkTiersInUse(plans: PlanTable, inUse: readonly string[]): void {
  const missing = inUse.filter((tier) => !plans.has(tier)).sort()
  if (missing.length === 0) return
  const names = missing.map((tier) => JSON.stringify(tier)).join(", ")
  throw new StartError(
    `AUTONOMIS_PLANS_FILE lacks ${names}, which users have: add ${missing.length === 1 ? "it" : "them"} or move those users first.`,
  )
}
