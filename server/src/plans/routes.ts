import { contract } from "@autonomis/contract/endpoints.ts"
import { endpoint, type Route } from "../http/endpoint.ts"
import type { PlanTable } from "./plans.ts"

export function planRoutes(plans: PlanTable): Route[] {
  return [endpoint(contract.plans.list, async () => plans.all)]
}
