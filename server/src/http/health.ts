import { contract } from "@autonomis/contract/endpoints.ts"
import { AppError } from "../lib/errors.ts"
import { endpoint, type Route } from "./endpoint.ts"

/** `ready` tells whether new work is taken: not while draining, not without a database. */
export function healthRoutes(ready: () => Promise<boolean>): Route[] {
  const ok = async () => ({ status: "ok" as const })
  return [
    endpoint(contract.health.root, ok),
    endpoint(contract.health.get, ok),
    endpoint(contract.health.ready, async () => {
      if (await ready()) return { status: "ok" as const }
      throw new AppError("unavailable", "not ready")
    }),
  ]
}
