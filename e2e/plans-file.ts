import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Limits } from "@autonomis/contract/plans.ts"
import { BUILT_IN_PLANS } from "../server/src/plans/plans.ts"

/** The built-in plans with other limits, where AUTONOMIS_PLANS_FILE may point to. */
export function plansFile(limitsOf: (tier: string, limits: Limits) => Limits): { path: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), "autonomis-plans-"))
  const path = join(folder, "plans.json")
  const plans = BUILT_IN_PLANS.plans.map(({ tier, limits }) => ({ tier, limits: limitsOf(tier, limits) }))
  writeFileSync(path, JSON.stringify({ ...BUILT_IN_PLANS, plans }))
  return { path, [Symbol.dispose]: () => rmSync(folder, { recursive: true }) }
}
