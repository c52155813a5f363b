import { type Agents, egressPolicies } from "./agents/agents.ts"
import type { Config } from "./config.ts"
import type { Logger } from "./lib/log.ts"
import type { Redactor } from "./lib/redact.ts"
import type { Logs } from "./logs/logs.ts"
import type { EgressRecord, SandboxesOptions } from "./sandboxes/sandboxes.ts"
import type { Users } from "./users/users.ts"

export interface NetworkWiring {
  config: Pick<Config, "egressPorts" | "host">
  log: Logger
  logs: Logs
  publicUrl(): string
  /** Asked late: the sandboxes are made before these parts are. */
  parts(): {
    agents: Pick<Agents, "forRun">
    users: Pick<Users, "limits">
    redactor(userId: string): Promise<Redactor>
  }
}

/** Ties the way outwards to agents, plans and logs. */
export function wireNetwork({
  config,
  log,
  logs,
  publicUrl,
  parts,
}: NetworkWiring): NonNullable<SandboxesOptions["egress"]> {
  return {
    ports: [80, 443, ...config.egressPorts],
    own: () => [config.host, new URL(publicUrl()).hostname],
    async policies({ userId, id }) {
      const { agents, users } = parts()
      const [agent, limits] = await Promise.all([agents.forRun(userId, id), users.limits(userId)])
      return agent === null || limits === null ? null : egressPolicies(agent.config, limits)
    },
    async report({ userId, id }, records) {
      const { agents, redactor } = parts()
      const [agent, { text }] = await Promise.all([agents.forRun(userId, id), redactor(userId)])
      for (const record of records) {
        // A name can hold what is secret, like everything that comes from a sandbox.
        const shown = { ...record, destination: text(record.destination), reason: record.reason && text(record.reason) }
        log.info("egress", { user: userId, agent: id, ...shown })
        if (agent === null) continue
        const level = shown.refused > 0 ? "warn" : "info"
        const line = { userId, agentId: id, agentName: agent.name, level, source: "sandbox" } as const
        logs.write({ ...line, message: `network: ${inWords(shown)}` })
      }
    },
  }
}

function inWords({ destination, address, connections, refused, reason, bytesOut, bytesIn }: EgressRecord): string {
  const parts = [
    ...(connections > 0 ? [connections === 1 ? "1 connection" : `${connections} connections`] : []),
    ...(bytesOut > 0 || bytesIn > 0 ? [`${bytesOut} bytes out, ${bytesIn} bytes in`] : []),
    ...(refused > 0 ? [`refused${refused === 1 ? "" : ` ${refused} times`}: ${reason}`] : []),
  ]
  return `${destination}${address === null ? "" : ` (${address})`}: ${parts.join(", ")}`
}
