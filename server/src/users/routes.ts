import type { Agent } from "@autonomis/contract/agents.ts"
import { contract } from "@autonomis/contract/endpoints.ts"
import { endpoint, type Route, type UserRef } from "../http/endpoint.ts"
import type { Users } from "./users.ts"

/** `agentsOf`: all agents of a user, as the API shows them. */
export function userRoutes(users: Users, agentsOf: (userId: string) => Promise<Agent[]>): Route[] {
  const withAgents = async <V>(user: Pick<UserRef, "id">, view: Promise<V>) => ({
    ...(await view),
    agents: await agentsOf(user.id),
  })
  return [
    endpoint(contract.users.create, async ({ body, origin }) => ({
      ...(await users.create(body, origin)),
      agents: [],
    })),
    endpoint(contract.users.list, ({ query }) => users.list(query)),
    endpoint(contract.users.get, ({ user }) => withAgents(user, users.get(user.id))),
    endpoint(contract.users.setTier, ({ user, body, origin }) =>
      withAgents(user, users.setTier(user, body.tier, origin)),
    ),
    endpoint(contract.users.setLimits, ({ user, body, origin }) =>
      withAgents(user, users.setLimits(user, body, origin)),
    ),
    endpoint(contract.users.setState, ({ user, body, origin }) =>
      withAgents(user, users.setState(user, body.state, body.reason, origin)),
    ),
    endpoint(contract.users.delete, async ({ user, origin }) => {
      await users.delete(user, origin)
      return undefined
    }),
    endpoint(contract.users.rotateKey, ({ user, body, origin }) => users.rotateKey(user, body.grace_seconds, origin)),
  ]
}
