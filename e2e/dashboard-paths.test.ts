import assert from "node:assert/strict"
import { readFile } from "node:fs/promises"
import { test } from "node:test"
import type { Page } from "playwright-core"
import { startOpenAiDouble } from "../test/doubles/openai.ts"
import { startServer } from "../test/server.ts"
import { until } from "../test/until.ts"
import { startBrowser } from "./browser.ts"
import { startDashboardWithRegistry } from "./dashboard.ts"
import { account, signIn } from "./dashboard-pages.ts"

const { server, browser } = await startDashboardWithRegistry()

/** Drops a file as a hand would: the browser's own events, with the file in them. */
async function drop(page: Page, selector: string, name: string, type: string, text: string): Promise<void> {
  const data = await page.evaluateHandle(
    `(() => {
      const data = new DataTransfer()
      data.items.add(new File([${JSON.stringify(text)}], ${JSON.stringify(name)}, { type: ${JSON.stringify(type)} }))
      return data
    })()`,
  )
  for (const event of ["dragover", "drop"]) await page.dispatchEvent(selector, event, { dataTransfer: data })
}

test("skills are found in the registry, asked about when suspicious, installed, dropped in, and deleted", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "skills"), "/u/skills/skills")
  await page.getByText("No skills yet").waitFor()
  const search = async (q: string) => {
    await page.getByRole("textbox", { name: "Search" }).fill(q)
    await page.getByRole("button", { name: "Search" }).click()
  }
  await search("hello")
  await page.getByRole("button", { name: "Install hello-world" }).click()
  await page.getByRole("heading", { name: "hello-world", level: 2 }).waitFor()

  await search("risky")
  await page.getByText("suspicious", { exact: true }).waitFor()
  await page.getByRole("button", { name: "Install risky" }).click()
  const dialog = page.getByRole("dialog")
  await dialog.getByText("ClawHub considers this skill suspicious.").waitFor()
  assert.equal(await dialog.getByText("accept_risk").count(), 0, "the words of the API are not a person's")
  await dialog.getByRole("button", { name: "Cancel" }).click()
  assert.deepEqual(
    (await server.call("GET", "/users/skills/skills")).body.skills.map((skill: { id: string }) => skill.id),
    ["hello-world"],
    "nothing is installed unasked",
  )
  await page.getByRole("button", { name: "Install risky" }).click()
  await dialog.getByRole("button", { name: "Install anyway" }).click()
  await page.getByRole("heading", { name: "risky", level: 2 }).waitFor()

  const skill = "---\nname: greeter\ndescription: Greets people when they ask for it.\n---\n\nSay hello.\n"
  await drop(page, ".at-drop", "SKILL.md", "text/markdown", skill)
  await until(async () => (await page.getByLabel("ID").inputValue()) === "greeter", "the id is read from the file")
  await page.getByRole("button", { name: "Install", exact: true }).click()
  await page.getByRole("heading", { name: "greeter", level: 2 }).waitFor()
  await page.getByRole("button", { name: "Delete greeter" }).click()
  await dialog.getByRole("button", { name: "Delete" }).click()
  await page.getByRole("button", { name: "Delete greeter" }).waitFor({ state: "detached" })
})

test("files that are dropped on the page are in the workspace", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "drops"), "/u/drops/agents/manager/files")
  await page.getByText("The workspace is empty").waitFor()
  await drop(page, ".at-files", "dropped.txt", "text/plain", "from a hand")
  await page.getByRole("button", { name: /dropped\.txt/ }).click()
  await page.getByText("from a hand").waitFor()
  assert.equal((await server.call("GET", "/users/drops/agents/manager/files/dropped.txt")).body, "from a hand")
})

test("a token of the Connect tab opens the agent to an OpenAI client as the example says", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "conn"), "/u/conn/agents/manager/connect")
  await page.getByText("online", { exact: true }).waitFor()
  await page.getByRole("button", { name: "Create a token" }).click()
  const token = (await page.getByText(/^atn_gw_/).textContent()) ?? ""
  const snippet = (await page.locator("pre code").textContent()) ?? ""
  assert.ok(snippet.includes(token))
  const url = /https?:\S+/.exec(snippet)?.[0] ?? ""
  const body = /-d '(.*)'/.exec(snippet)?.[1] ?? ""
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" }
  const answer = await fetch(url, { method: "POST", headers, body })
  assert.equal(answer.status, 200)
  const { choices } = (await answer.json()) as { choices: { message: { content: string } }[] }
  assert.match(choices[0]?.message.content ?? "", /manager/)
})

test("usage is downloaded as CSV, and log lines come while one looks on", async () => {
  const { page, context } = await browser.open()
  await signIn(page, await account(server, "seen"), "/u/seen/logs")
  await page.getByText("No log lines").or(page.getByLabel("Log lines")).waitFor()
  const say = { session: "s", messages: [{ role: "user", content: '/tool bash {"command":"echo a-line-of-mine"}' }] }
  assert.equal((await server.call("POST", "/users/seen/agents/manager/chat", say)).status, 200)
  await page.getByText("a-line-of-mine").first().waitFor()
  await page.getByLabel("Filter").fill("nothing has this")
  await page.getByRole("button", { name: "Clear filter" }).click()
  await page.getByText("a-line-of-mine").first().waitFor()

  const usage = await context.newPage()
  await usage.goto("/u/seen/usage")
  const started = usage.waitForEvent("download")
  await usage.getByRole("button", { name: "CSV" }).click()
  const file = await started
  assert.match(file.suggestedFilename(), /^usage-seen-\d{4}-\d\d\.csv$/)
  const lines = (await readFile(await file.path(), "utf8")).split("\r\n")
  assert.equal(lines[0], "group,name,input,output,cache_read,cache_write,total,cost_usd,runs")
  assert.ok(lines.some((line) => line.startsWith("agent,manager,")))
})

test("several agents are created at once, and a name that is used twice is marked before", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "many"), "/u/many/new-agents")
  const nameOf = (n: number) => page.getByLabel("Name", { exact: true }).nth(n)
  await nameOf(0).fill("alpha")
  await page.getByRole("button", { name: "Add another" }).click()
  await nameOf(1).fill("alpha")
  await page.getByText("This name is used twice").waitFor()
  await nameOf(1).fill("beta")
  await page.getByRole("radio", { name: "Writer" }).nth(1).click()
  await page.getByRole("button", { name: "Create 2 agents" }).click()
  await page.getByText("beta: Model checked").waitFor()
  const { agents } = (await server.call("GET", "/users/many/agents")).body
  assert.deepEqual(agents.map((agent: { name: string }) => agent.name).toSorted(), ["alpha", "beta", "manager"])
})

test("setting up that failed says why and what to do, also later on the agent's page", async () => {
  await using own = await startServer({ env: { AUTONOMIS_DEMO: "off" } })
  await using itsBrowser = await startBrowser(own.url)
  const { body } = await own.call("POST", "/users", { user: "fails", tier: "pro" })
  const { page } = await itsBrowser.open()
  await signIn(page, body.api_key, "/u/fails/new-agents")
  await page.getByLabel("Name", { exact: true }).fill("lost")
  await page.getByRole("button", { name: "Create agent" }).click()
  const why = "Secret ANTHROPIC_API_KEY is not set. Set the provider's key as a secret"
  await page.getByText(why).waitFor({ timeout: 30_000 })
  await page.goto("/u/fails/agents/lost/settings")
  await page.getByText(why).waitFor()
  assert.equal(await page.getByText("Workspace created").count(), 0, "what is done needs no telling any more")
})

test("a model is tried on request, and what is wrong with its key is said", async () => {
  await using double = await startOpenAiDouble()
  await using own = await startServer({
    env: {
      OPENAI_API_KEY: "sk-platform-0123456789",
      OPENAI_BASE_URL: `${double.url}/v1`,
      AUTONOMIS_DEFAULT_MODEL: "openai/my-model",
    },
  })
  await using itsBrowser = await startBrowser(own.url)
  const { body } = await own.call("POST", "/users", { user: "keyed", tier: "pro" })
  assert.equal((await own.call("POST", "/users/keyed/agents", { name: "manager" })).status, 201)
  const { page } = await itsBrowser.open()
  await signIn(page, body.api_key, "/u/keyed/agents/manager/settings")
  double.script([{ error: { status: 401, message: "Incorrect API key provided" } }])
  await page.getByRole("button", { name: "Test this model" }).click()
  await page.getByText(/Incorrect API key provided/).waitFor()
  double.script([{ text: "ok" }])
  await page.getByRole("button", { name: "Test this model" }).click()
  await page.getByText(/It works: answered in \d+ ms/).waitFor()
})

test("an administrator overrides a user's budget and takes it back to the plan's", async () => {
  const { page } = await browser.open()
  await account(server, "budget")
  await signIn(page, server.adminKey, "/admin/users/budget")
  await page.getByLabel("USD per day", { exact: true }).selectOption("Custom")
  await page.getByLabel("USD per day, value").fill("2.5")
  await page.getByRole("button", { name: "Save budgets" }).click()
  const limits = async () => (await server.call("GET", "/users/budget")).body.limits
  await until(async () => (await limits()).usd_per_day === 2.5, "the budget is set")
  await page.getByLabel("USD per day", { exact: true }).selectOption("Plan default")
  await page.getByRole("button", { name: "Save budgets" }).click()
  await until(async () => (await limits()).usd_per_day === null, "the plan counts again")
})
