import { contract } from "@autonomis/contract/endpoints.ts"
import { endpoint, type Route } from "../http/endpoint.ts"
import type { Templates } from "./templates.ts"

export function templateRoutes(templates: Templates): Route[] {
  return [
    endpoint(contract.templates.platformGet, () => templates.platform()),
    endpoint(contract.templates.platformPut, ({ body, origin }) => templates.setPlatform(body.templates, origin)),
    endpoint(contract.templates.userGet, ({ user }) => templates.user(user.id)),
    endpoint(contract.templates.userPut, ({ user, body, origin }) => templates.setUser(user, body.templates, origin)),
    endpoint(contract.templates.agentGet, ({ user, agent }) => templates.agent(user.id, agent.id)),
    endpoint(contract.templates.agentPut, ({ user, agent, body, origin }) =>
      templates.setAgent(user, agent, body.templates, origin),
    ),
  ]
}
