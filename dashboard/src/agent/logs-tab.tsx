import type { AgentTabProps } from "../pages/agent.tsx"
import { LogView } from "../ui/log-view.tsx"

export function LogsTab({ user, agent }: AgentTabProps) {
  return <LogView user={user} agent={agent} />
}
