/** Every address of the dashboard. Parameters are written as the router reads them. */
export const routes = {
  home: "/",
  welcome: "/welcome",
  chat: "/u/$user/chat",
  chatAgent: "/u/$user/chat/$agent",
  chatSession: "/u/$user/chat/$agent/$session",
  agents: "/u/$user/agents",
  newAgents: "/u/$user/new-agents",
  defaults: "/u/$user/defaults",
  agent: "/u/$user/agents/$agent",
  agentTab: "/u/$user/agents/$agent/$tab",
  secrets: "/u/$user/secrets",
  skills: "/u/$user/skills",
  usage: "/u/$user/usage",
  logs: "/u/$user/logs",
  account: "/u/$user/account",
  admin: "/admin",
  adminTab: "/admin/$tab",
  adminUser: "/admin/users/$user",
} as const

/** The reference of the API, which the server itself gives out. */
export const API_DOCS = "/docs"

const at = (path: string, params: Record<string, string>) =>
  path.replace(/\$(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ""))

/** Addresses with their names filled in, for plain links. */
export const pathTo = {
  file: (user: string, agent: string, path: string) =>
    `${at(routes.agentTab, { user, agent, tab: "files" })}?path=${encodeURIComponent(path)}`,
  image: (user: string, agent: string, session: string, message: string, hash: string) =>
    `/api/v1${at("/users/$user/agents/$agent/sessions/$session/messages/$message/images/$hash", { user, agent, session, message, hash })}`,
  download: (user: string, agent: string, path: string) =>
    `/api/v1/users/${encodeURIComponent(user)}/agents/${encodeURIComponent(agent)}/files/${path
      .split("/")
      .map(encodeURIComponent)
      .join("/")}`,
}
