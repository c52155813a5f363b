import assert from "node:assert/strict"
import type { Locator, Page } from "playwright-core"
import type { TestServer } from "../test/server.ts"

export interface DashboardPage {
  name: string
  path: string
  /** Seen once the page has what it shows. */
  ready: (page: Page) => Locator
}

const heading = (name: string) => (page: Page) => page.getByRole("heading", { name, exact: true, level: 1 })

/** Every page of the dashboard with the account that `seed` makes. */
export const PAGES: readonly DashboardPage[] = [
  { name: "chat-new", path: "/u/ada/chat/manager", ready: (page) => page.getByText("What should manager do?") },
  {
    name: "chat",
    path: "/u/ada/chat/manager/first-quarter",
    ready: (page) => page.getByRole("button", { name: "Copy answer" }).first(),
  },
  {
    name: "chat-image",
    path: "/u/ada/chat/manager/chart",
    ready: (page) => page.getByRole("button", { name: "Enlarge image from the tool" }),
  },
  { name: "agents", path: "/u/ada/agents", ready: (page) => page.getByRole("button", { name: "Talk to coder" }) },
  { name: "new-agents", path: "/u/ada/new-agents", ready: (page) => page.getByText("Starting point", { exact: true }) },
  { name: "defaults", path: "/u/ada/defaults", ready: (page) => page.getByRole("textbox", { name: "SOUL.md" }) },
  {
    name: "agent-templates",
    path: "/u/ada/agents/manager/templates",
    ready: (page) => page.getByRole("tabpanel").getByRole("textbox", { name: "SOUL.md" }),
  },
  {
    name: "agent-files",
    path: "/u/ada/agents/manager/files?path=plan.md",
    ready: (page) => page.getByRole("heading", { name: "Launch plan" }),
  },
  {
    name: "agent-keys",
    path: "/u/ada/agents/manager/keys",
    ready: (page) => page.getByRole("button", { name: "Rotate key" }),
  },
  {
    name: "agent-settings",
    path: "/u/ada/agents/manager/settings",
    ready: (page) => page.getByRole("heading", { name: "Behaviour" }),
  },
  { name: "agent-connect", path: "/u/ada/agents/manager/connect", ready: (page) => page.getByText("online") },
  { name: "agent-logs", path: "/u/ada/agents/manager/logs", ready: (page) => page.getByLabel("Filter") },
  { name: "secrets", path: "/u/ada/secrets", ready: (page) => page.getByText("GITHUB_TOKEN").first() },
  { name: "skills", path: "/u/ada/skills", ready: heading("Skills") },
  { name: "usage", path: "/u/ada/usage", ready: (page) => page.getByText("Forecast") },
  { name: "logs", path: "/u/ada/logs", ready: (page) => page.getByLabel("Filter") },
  { name: "account", path: "/u/ada/account", ready: (page) => page.getByRole("heading", { name: "Activity" }) },
  { name: "admin-users", path: "/admin/users", ready: (page) => page.getByRole("link", { name: "grace" }) },
  { name: "admin-user", path: "/admin/users/ada", ready: (page) => page.getByRole("heading", { name: "Budgets" }) },
  { name: "admin-plans", path: "/admin/plans", ready: (page) => page.getByRole("heading", { name: "enterprise" }) },
  { name: "admin-health", path: "/admin/health", ready: (page) => page.getByText("Sandbox driver") },
  {
    name: "admin-templates",
    path: "/admin/templates",
    ready: (page) => page.getByRole("textbox", { name: "SOUL.md" }),
  },
  { name: "admin-logs", path: "/admin/logs", ready: (page) => page.getByLabel("Filter") },
  { name: "admin-audit", path: "/admin/audit", ready: (page) => page.getByRole("columnheader", { name: "Actor" }) },
]

/** Signs in by the form, as a person would, and waits until no page leads on to another any more. */
export async function signIn(page: Page, key: string, path = "/"): Promise<void> {
  await page.goto(path)
  await page.getByLabel("API key", { exact: true }).fill(key)
  await page.getByRole("button", { name: "Sign in" }).click()
  await page.getByRole("navigation").waitFor()
  // What only leads on, as home does, has no heading; a test that goes elsewhere before would be led away from there.
  await page.getByRole("heading", { level: 1 }).first().waitFor()
}

/** A user with an agent named manager; gives the user's key. */
export async function account(server: TestServer, user: string): Promise<string> {
  const made = await server.call("POST", "/users", { user, tier: "pro" })
  assert.equal(made.status, 201)
  assert.equal((await server.call("POST", `/users/${user}/agents`, { name: "manager" })).status, 201)
  return made.body.api_key
}

/** Says something as a person would. */
export async function say(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message").fill(text)
  await page.getByLabel("Message").press("Enter")
}
