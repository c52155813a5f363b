import type { AgentConfig, AgentConfigPatch } from "@autonomis/contract/agents.ts"
import type { Limits } from "@autonomis/contract/plans.ts"
import { AppError } from "../lib/errors.ts"
import type { EgressPolicy } from "../sandboxes/driver.ts"

/** What an agent's sandbox may reach: nothing (null), or what every one of these lists lets through. */
export function egressPolicies(config: AgentConfig, limits: Limits): EgressPolicy[] | null {
  const { allowed = true, allow = null, deny = [] } = limits.sandbox.network ?? {}
  if (config.network === "none" || !allowed) return null
  return [
    { allow, deny },
    { allow: config.network_allow, deny: config.network_deny },
  ]
}

/** 403 `plan_limit` for a network that the plan does not have. */
export function requireNetwork(patch: AgentConfigPatch, limits: Limits): void {
  if (patch.network !== "egress" || limits.sandbox.network?.allowed !== false) return
  throw new AppError("plan_limit", "your plan has no network for agents", {
    extra: { limit: "sandbox.network", max: "none" },
  })
}
