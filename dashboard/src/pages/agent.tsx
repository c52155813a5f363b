import { isApiError } from "@autonomis/sdk/errors.ts"
import { Badge, Button, Group, Tabs } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useNavigate, useParams } from "@tanstack/react-router"
import { lazy, Suspense } from "react"
import { AgentGone } from "../agent/agent-gone.tsx"
import { routes } from "../paths.ts"
import { agentQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { DeployTimeline } from "../ui/deploy-timeline.tsx"
import { Icon } from "../ui/icon.tsx"
import { Page } from "../ui/page.tsx"
import { Failure, Loading } from "../ui/states.tsx"
import { TabList } from "../ui/tab-list.tsx"
import { STATE_COLOR } from "./agents.tsx"

const TABS = {
  templates: lazy(async () => ({ default: (await import("../agent/templates-tab.tsx")).TemplatesTab })),
  files: lazy(async () => ({ default: (await import("../agent/files-tab.tsx")).FilesTab })),
  keys: lazy(async () => ({ default: (await import("../agent/keys-tab.tsx")).KeysTab })),
  settings: lazy(async () => ({ default: (await import("../agent/settings-tab.tsx")).SettingsTab })),
  connect: lazy(async () => ({ default: (await import("../agent/connect-tab.tsx")).ConnectTab })),
  logs: lazy(async () => ({ default: (await import("../agent/logs-tab.tsx")).LogsTab })),
} as const
type Tab = keyof typeof TABS
const NAMES = Object.keys(TABS) as Tab[]

export interface AgentTabProps {
  user: string
  agent: string
}

export function AgentPage() {
  const params: { user?: string; agent?: string; tab?: string } = useParams({ strict: false })
  const { user = "", agent = "" } = params
  const navigate = useNavigate()
  const info = useQuery(agentQuery(user, agent))
  const tab = NAMES.find((name) => name === params.tab) ?? "templates"
  const Content = TABS[tab]
  if (info.error && isApiError(info.error, "not_found")) return <AgentGone user={user} agent={agent} />
  return (
    <Page
      wide
      title={agent}
      part={t.agent.tabs[tab]}
      hint={info.data?.description}
      actions={
        <>
          {info.data ? (
            <Group gap={6}>
              {info.data.default ? (
                <Badge variant="light" color="indigo">
                  {t.agents.default}
                </Badge>
              ) : null}
              <Badge variant="light" color={STATE_COLOR[info.data.state]}>
                {t.agents.states[info.data.state]}
              </Badge>
            </Group>
          ) : null}
          <Button
            variant="light"
            leftSection={<Icon name="chat" size={16} />}
            onClick={() => navigate({ to: routes.chatAgent, params: { user, agent } })}
          >
            {t.agents.talk}
          </Button>
        </>
      }
    >
      {info.error ? <Failure error={info.error} retry={() => info.refetch()} /> : null}
      {info.data && (info.data.state === "failed" || info.data.state === "deploying") ? (
        <section className="at-card at-above" aria-label={t.deploy.progress}>
          <DeployTimeline user={user} agents={[agent]} brief />
        </section>
      ) : null}
      <Tabs
        value={tab}
        onChange={(next) => next && navigate({ to: routes.agentTab, params: { user, agent, tab: next } })}
        keepMounted={false}
      >
        <TabList
          label={t.agent.tabsOf(agent)}
          names={NAMES.map((name) => [name, t.agent.tabs[name]] as const)}
          chosen={tab}
          mb="lg"
        />
        <Tabs.Panel value={tab}>
          <Suspense fallback={<Loading />}>
            <Content user={user} agent={agent} />
          </Suspense>
        </Tabs.Panel>
      </Tabs>
    </Page>
  )
}
