import { contract } from "@autonomis/contract/endpoints.ts"
import { endpoint, type Route } from "../http/endpoint.ts"
import type { UsageOfUser } from "./usage.ts"

export function usageRoutes(usage: UsageOfUser): Route[] {
  return [endpoint(contract.usage.get, ({ user, query }) => usage.report(user.id, user.limits, query.month))]
}
