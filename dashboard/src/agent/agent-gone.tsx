import { Button } from "@mantine/core"
import { useNavigate } from "@tanstack/react-router"
import { routes } from "../paths.ts"
import { t } from "../texts.ts"
import { Empty } from "../ui/states.tsx"

/** In place of a page about an agent that is no more. */
export function AgentGone({ user, agent }: { user: string; agent: string }) {
  const navigate = useNavigate()
  return (
    <div className="at-page">
      <Empty whole icon="agents" title={t.agent.goneTitle(agent)} text={t.agent.goneText}>
        <Button onClick={() => navigate({ to: routes.agents, params: { user } })}>{t.agent.toList}</Button>
      </Empty>
    </div>
  )
}
