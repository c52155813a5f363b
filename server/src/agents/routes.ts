import type { NewAgent } from "@autonomis/contract/agents.ts"
import { contract } from "@autonomis/contract/endpoints.ts"
import { Answer, endpoint, type Route, SENT } from "../http/endpoint.ts"
import { asksForEvents, openSse } from "../http/sse.ts"
import { iso } from "../lib/clock.ts"
import type { Agents } from "./agents.ts"

/** `publicUrl`: where users reach the server, without a slash at the end. */
export function agentRoutes(agents: Agents, publicUrl: () => string): Route[] {
  return [
    endpoint(contract.agents.create, async ({ user, body: { secrets, ...body }, origin }) => {
      const input: NewAgent[] = "agents" in body ? body.agents : [body]
      return { agents: await agents.create(user, input, secrets, origin) }
    }),
    endpoint(contract.agents.list, ({ user, query }) => agents.list(user.id, query)),
    endpoint(contract.agents.get, ({ user, agent }) => agents.get(user.id, agent.id)),
    endpoint(contract.agents.update, ({ user, agent, body, origin }) => agents.update(user, agent, body, origin)),
    endpoint(contract.agents.configure, ({ user, agent, body, origin }) => agents.configure(user, agent, body, origin)),
    endpoint(contract.agents.delete, async ({ user, agent, origin }) => {
      await agents.delete(user, agent, origin)
      return undefined
    }),
    endpoint(contract.agents.rotateKey, ({ user, agent, body, origin }) =>
      agents.rotateKey(user, agent, body.grace_seconds, origin),
    ),
    endpoint(contract.agents.ping, ({ user, agent }) => agents.ping(user, agent)),
    endpoint(contract.agents.connect, async ({ user, agent, principal, request, origin }) => {
      if (principal === null) throw new Error("an endpoint without a key cannot open another")
      const isRead = request.method === "GET"
      const { token, expiresAt } = await agents.connect(user, agent, principal, isRead, origin)
      const connection = {
        protocol: "openai" as const,
        base_url: `${publicUrl()}/gateway/${user.name}/${agent.name}/v1`,
        model: agent.name,
        token,
        expires_at: iso(expiresAt),
      }
      // Though it is asked for by GET: nobody on the way may keep a token.
      return new Answer(200, connection, { "Cache-Control": "no-store" })
    }),
    endpoint(contract.agents.deployStatus, async (context) => {
      const { user, request } = context
      if (!asksForEvents(request)) return agents.deployStatus(user.id)
      const stream = openSse(context)
      let id = 0
      let sent = ""
      while (!stream.closed.aborted) {
        // Heard from before the look, so that no step falls in between.
        const changed = agents.deployChanged(user.id, stream.closed)
        const status = await agents.deployStatus(user.id)
        const text = JSON.stringify(status)
        if (text !== sent) stream.send(++id, "status", status)
        sent = text
        if (status.status === "ready" || status.status === "failed") break
        await changed
      }
      stream.close()
      return SENT
    }),
  ]
}
