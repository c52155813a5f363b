import type { Agents } from "./agents/agents.ts"
import type { Directory } from "./http/endpoint.ts"
import type { Keys } from "./keys/keys.ts"
import type { Users } from "./users/users.ts"

/** What the HTTP layer asks of the domains. */
export function createDirectory(parts: { keys: Keys; users: Users; agents: Agents }): Directory {
  const { keys, users, agents } = parts
  return {
    authenticate: (key, at) => keys.authenticate(key, at),
    user: (name) => users.byName(name),
    agent: (userId, name) => agents.byName(userId, name),
    watch: (principal) => keys.watch(principal),
  }
}
