import { api } from "../api.ts"
import type { AgentTabProps } from "../pages/agent.tsx"
import { t } from "../texts.ts"
import { RotateKey } from "../ui/rotate-key.tsx"

export function KeysTab({ user, agent }: AgentTabProps) {
  return (
    <div className="at-card">
      <RotateKey
        title={t.keys.agentTitle}
        text={t.keys.agentText(agent)}
        keyLabel={t.keys.keyOf(agent)}
        rotate={(grace) => api.agents.rotateKey({ user, agent }, { grace_seconds: grace })}
      />
    </div>
  )
}
