import { useQuery } from "@tanstack/react-query"
import { Navigate } from "@tanstack/react-router"
import { routes } from "../paths.ts"
import { agentsQuery, meQuery, startQuery } from "../queries.ts"
import { lastUser } from "../shell/current-user.ts"
import { Loaded, Loading } from "../ui/states.tsx"

/** The first page: the conversation, or what comes before there can be one. */
export function Home() {
  const me = useQuery(meQuery).data
  if (!me) return <Loading />
  if (me.kind === "admin") return <AdminHome />
  if (me.kind === "agent" && me.user !== null && me.agent !== null)
    return <Navigate to={routes.chatAgent} params={{ user: me.user, agent: me.agent }} replace />
  return <UserHome user={me.user ?? ""} />
}

function AdminHome() {
  const start = useQuery(startQuery(lastUser()))
  return (
    <Loaded query={start}>
      {({ known, first }) => {
        if (first === null) return <Navigate to={routes.welcome} replace />
        return known ? <UserHome user={known} /> : <Navigate to={routes.admin} replace />
      }}
    </Loaded>
  )
}

function UserHome({ user }: { user: string }) {
  const agents = useQuery(agentsQuery(user))
  return (
    <Loaded query={agents}>
      {(list) =>
        list.length === 0 ? (
          <Navigate to={routes.newAgents} params={{ user }} replace />
        ) : (
          <Navigate to={routes.chat} params={{ user }} replace />
        )
      }
    </Loaded>
  )
}
