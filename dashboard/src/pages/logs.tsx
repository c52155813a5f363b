import { useQuery } from "@tanstack/react-query"
import { useParams } from "@tanstack/react-router"
import { routes } from "../paths.ts"
import { agentsQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { LogView } from "../ui/log-view.tsx"
import { Page } from "../ui/page.tsx"

export function LogsPage() {
  const { user } = useParams({ from: routes.logs })
  const agents = useQuery(agentsQuery(user)).data ?? []
  return (
    <Page title={t.nav.logs} hint={t.logs.hint} wide>
      <LogView user={user} agents={agents.map((a) => a.name)} />
    </Page>
  )
}
