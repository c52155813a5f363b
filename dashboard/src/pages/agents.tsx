import type { Agent } from "@autonomis/contract/agents.ts"
import { Badge, Button, Group, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { Link, useNavigate, useParams } from "@tanstack/react-router"
import { routes } from "../paths.ts"
import { agentsQuery, userQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { orUnlimited } from "../ui/format.ts"
import { Icon } from "../ui/icon.tsx"
import { Page } from "../ui/page.tsx"
import { Empty, Loaded } from "../ui/states.tsx"
import { Ago } from "../ui/time.tsx"

export const STATE_COLOR = { ready: "green", running: "blue", deploying: "yellow", failed: "red" } as const

export function AgentsPage() {
  const { user } = useParams({ from: routes.agents })
  const navigate = useNavigate()
  const agents = useQuery({ ...agentsQuery(user), refetchInterval: 15_000 })
  const limit = useQuery(userQuery(user)).data?.limits.agents
  const create = () => navigate({ to: routes.newAgents, params: { user } })
  const full = limit !== undefined && limit !== null && (agents.data?.length ?? 0) >= limit
  return (
    <Page
      title={t.nav.agents}
      hint={limit === undefined ? t.agents.hint : t.agents.count(agents.data?.length ?? 0, orUnlimited(limit, String))}
      actions={
        <>
          <Button variant="default" onClick={() => navigate({ to: routes.defaults, params: { user } })}>
            {t.agents.defaults}
          </Button>
          <Button
            leftSection={<Icon name="plus" size={16} />}
            onClick={create}
            disabled={full}
            title={full ? t.agents.full : undefined}
          >
            {t.agents.create}
          </Button>
        </>
      }
    >
      <Loaded query={agents}>
        {(list) =>
          list.length === 0 ? (
            <Empty icon="agents" title={t.agents.emptyTitle} text={t.agents.emptyText}>
              <Button onClick={create}>{t.agents.create}</Button>
            </Empty>
          ) : (
            <ul className="at-cards">
              {list.map((agent) => (
                <li key={agent.name}>
                  <AgentCard user={user} agent={agent} />
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
    </Page>
  )
}

function AgentCard({ user, agent }: { user: string; agent: Agent }) {
  const navigate = useNavigate()
  const params = { user, agent: agent.name }
  return (
    <article className="at-card at-agent-card">
      <Group justify="space-between" wrap="nowrap" align="flex-start">
        <Title order={2} className="at-ellipsis">
          <Link to={routes.agent} params={params}>
            {agent.name}
          </Link>
        </Title>
        <Group gap={6} wrap="nowrap">
          {agent.default ? (
            <Badge variant="light" color="indigo">
              {t.agents.default}
            </Badge>
          ) : null}
          <Badge variant="light" color={STATE_COLOR[agent.state]}>
            {t.agents.states[agent.state]}
          </Badge>
        </Group>
      </Group>
      <Text size="sm" c="dimmed" className="at-grow" lineClamp={3}>
        {agent.description || t.agents.noDescription}
      </Text>
      <dl className="at-facts">
        <dt>{t.agents.model}</dt>
        <dd>{agent.model.startsWith("demo/") ? t.chat.demoModel : agent.model}</dd>
        <dt>{t.agents.lastActive}</dt>
        <dd>
          <Ago time={agent.last_active_at} />
        </dd>
      </dl>
      <Group gap="xs">
        <Button
          size="xs"
          variant="light"
          leftSection={<Icon name="chat" size={14} />}
          aria-label={t.agents.talkTo(agent.name)}
          onClick={() => navigate({ to: routes.chatAgent, params })}
        >
          {t.agents.talk}
        </Button>
        <Button
          size="xs"
          variant="default"
          aria-label={t.agents.openOne(agent.name)}
          onClick={() => navigate({ to: routes.agent, params })}
        >
          {t.agents.open}
        </Button>
      </Group>
    </article>
  )
}
