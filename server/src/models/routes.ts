import { contract } from "@autonomis/contract/endpoints.ts"
import { endpoint, type Route } from "../http/endpoint.ts"
import type { Models } from "./models.ts"

export function modelRoutes(models: Models): Route[] {
  return [
    endpoint(contract.models.list, async ({ user }) => ({ models: await models.list(user.id) })),
    endpoint(contract.models.test, ({ user, body, signal }) => models.test(user.id, body.model, signal)),
  ]
}
