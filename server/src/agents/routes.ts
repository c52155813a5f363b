import type { NewAgent } from "@autonomis/contract/agents.ts"
import { contract } from "@autonomis/contract/endpoints.ts"
import { endpoint, type Route } from "../http/endpoint.ts"
import type { Agents } from "./agents.ts"

export function agentRoutes(agents: Agents): Route[] {
  return [
    endpoint(contract.agents.create, async ({ user, body, origin }) => {
      const input: NewAgent[] = "agents" in body ? body.agents : [body]
      return { agents: await agents.create(user, input, origin) }
    }),
    endpoint(contract.agents.list, ({ user, query }) => agents.list(user.id, query)),
    endpoint(contract.agents.get, ({ user, agent }) => agents.get(user.id, agent.id)),
  ]
}
