import { Tabs } from "@mantine/core"
import { useNavigate, useParams } from "@tanstack/react-router"
import { lazy, Suspense } from "react"
import { routes } from "../paths.ts"
import { t } from "../texts.ts"
import { Page } from "../ui/page.tsx"
import { Loading } from "../ui/states.tsx"
import { TabList } from "../ui/tab-list.tsx"

const TABS = {
  users: lazy(async () => ({ default: (await import("../admin/users-tab.tsx")).UsersTab })),
  plans: lazy(async () => ({ default: (await import("../admin/plans-tab.tsx")).PlansTab })),
  health: lazy(async () => ({ default: (await import("../admin/health-tab.tsx")).HealthTab })),
  templates: lazy(async () => ({ default: (await import("../admin/templates-tab.tsx")).PlatformTemplatesTab })),
  logs: lazy(async () => ({ default: (await import("../admin/logs-tab.tsx")).PlatformLogsTab })),
  audit: lazy(async () => ({ default: (await import("../admin/audit-tab.tsx")).AuditTab })),
} as const
type Tab = keyof typeof TABS
const NAMES = Object.keys(TABS) as Tab[]

/** What only an administrator sees: the accounts and the state of the platform itself. */
export function AdminPage() {
  const params: { tab?: string } = useParams({ strict: false })
  const navigate = useNavigate()
  const tab = NAMES.find((name) => name === params.tab) ?? "users"
  const Content = TABS[tab]
  return (
    <Page title={t.nav.platform} part={t.admin.tabs[tab]} wide>
      <Tabs
        value={tab}
        onChange={(next) => next && navigate({ to: routes.adminTab, params: { tab: next } })}
        keepMounted={false}
      >
        <TabList
          label={t.nav.platform}
          names={NAMES.map((name) => [name, t.admin.tabs[name]] as const)}
          chosen={tab}
          mb="lg"
        />
        <Tabs.Panel value={tab}>
          <Suspense fallback={<Loading />}>
            <Content />
          </Suspense>
        </Tabs.Panel>
      </Tabs>
    </Page>
  )
}
