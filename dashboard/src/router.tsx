import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router"
import { Home } from "./pages/home.tsx"
import { NotFound } from "./pages/not-found.tsx"
import { routes } from "./paths.ts"
import { Root } from "./shell/root.tsx"
import { addressState } from "./ui/address-state.ts"
import { Failure } from "./ui/states.tsx"

const root = createRootRoute({ component: Root, notFoundComponent: NotFound })
const under = () => root

const home = createRoute({ getParentRoute: under, path: routes.home, component: Home })
const welcome = createRoute({
  getParentRoute: under,
  path: routes.welcome,
  component: lazyRouteComponent(() => import("./pages/welcome.tsx"), "WelcomePage"),
})
const chatPage = lazyRouteComponent(() => import("./pages/chat.tsx"), "ChatPage")
const chat = createRoute({ getParentRoute: under, path: routes.chat, component: chatPage })
const chatAgent = createRoute({ getParentRoute: under, path: routes.chatAgent, component: chatPage })
const chatSession = createRoute({ getParentRoute: under, path: routes.chatSession, component: chatPage })
const agents = createRoute({
  getParentRoute: under,
  path: routes.agents,
  component: lazyRouteComponent(() => import("./pages/agents.tsx"), "AgentsPage"),
})
const newAgents = createRoute({
  getParentRoute: under,
  path: routes.newAgents,
  component: lazyRouteComponent(() => import("./pages/new-agents.tsx"), "NewAgentsPage"),
})
const defaults = createRoute({
  getParentRoute: under,
  path: routes.defaults,
  component: lazyRouteComponent(() => import("./pages/defaults.tsx"), "DefaultsPage"),
  validateSearch: addressState,
})
const agentPage = lazyRouteComponent(() => import("./pages/agent.tsx"), "AgentPage")
const agent = createRoute({
  getParentRoute: under,
  path: routes.agent,
  component: agentPage,
  validateSearch: addressState,
})
const agentTab = createRoute({
  getParentRoute: under,
  path: routes.agentTab,
  component: agentPage,
  validateSearch: addressState,
})
const secrets = createRoute({
  getParentRoute: under,
  path: routes.secrets,
  component: lazyRouteComponent(() => import("./pages/secrets.tsx"), "SecretsPage"),
  validateSearch: addressState,
})
const skills = createRoute({
  getParentRoute: under,
  path: routes.skills,
  component: lazyRouteComponent(() => import("./pages/skills.tsx"), "SkillsPage"),
  validateSearch: addressState,
})
const usage = createRoute({
  getParentRoute: under,
  path: routes.usage,
  component: lazyRouteComponent(() => import("./pages/usage.tsx"), "UsagePage"),
  validateSearch: addressState,
})
const logs = createRoute({
  getParentRoute: under,
  path: routes.logs,
  component: lazyRouteComponent(() => import("./pages/logs.tsx"), "LogsPage"),
  validateSearch: addressState,
})
const account = createRoute({
  getParentRoute: under,
  path: routes.account,
  component: lazyRouteComponent(() => import("./pages/account.tsx"), "AccountPage"),
})
const adminPage = lazyRouteComponent(() => import("./pages/admin.tsx"), "AdminPage")
const admin = createRoute({
  getParentRoute: under,
  path: routes.admin,
  component: adminPage,
  validateSearch: addressState,
})
const adminTab = createRoute({
  getParentRoute: under,
  path: routes.adminTab,
  component: adminPage,
  validateSearch: addressState,
})
const adminUser = createRoute({
  getParentRoute: under,
  path: routes.adminUser,
  component: lazyRouteComponent(() => import("./pages/admin-user.tsx"), "AdminUserPage"),
})

export const router = createRouter({
  routeTree: root.addChildren([
    home,
    welcome,
    chat,
    chatAgent,
    chatSession,
    agents,
    newAgents,
    defaults,
    agent,
    agentTab,
    secrets,
    skills,
    usage,
    logs,
    account,
    admin,
    adminTab,
    adminUser,
  ]),
  defaultPreload: "intent",
  defaultErrorComponent: ({ error, reset }) => <Failure error={error} retry={reset} />,
})

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router
  }
}
