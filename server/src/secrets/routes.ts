import { contract } from "@autonomis/contract/endpoints.ts"
import { endpoint, type Route } from "../http/endpoint.ts"
import type { Secrets } from "./secrets.ts"

export function secretRoutes(secrets: Secrets): Route[] {
  return [
    endpoint(contract.secrets.put, async ({ user, body, origin }) => ({
      secrets: await secrets.put(user, body.secrets, origin),
    })),
    endpoint(contract.secrets.list, async ({ user }) => ({ secrets: await secrets.list(user.id) })),
    endpoint(contract.secrets.delete, async ({ user, params, origin }) => {
      await secrets.delete(user, params.key, origin)
      return undefined
    }),
  ]
}
