import assert from "node:assert/strict"
import { test } from "node:test"
import type { Page } from "playwright-core"
import { until } from "../test/until.ts"
import { PHONE, startBrowser } from "./browser.ts"
import { lineTo } from "./cuttable.ts"
import { startDashboard } from "./dashboard.ts"
import { account, say, signIn } from "./dashboard-pages.ts"

const { server, browser } = await startDashboard()

/** A command that goes on until the test lets it. */
const WAITING = '/tool bash {"command":"echo line-$((0+1)); until [ -e go ]; do sleep 0.1; done; echo line-$((0+2))"}'
const letGo = (user: string) => server.call("PUT", `/users/${user}/agents/manager/files/go`, "now")

const answers = (page: Page) => page.getByRole("button", { name: "Copy answer" })

test("from the printed link to a file that an agent made", async () => {
  const link = /https?:\S+#token=\S+/.exec(server.output().stdout)?.[0]
  assert.ok(link, "the first start prints a link")
  const { page, faults } = await browser.open()
  await page.goto(link)
  await page.getByLabel("Your name").fill("Ada Lovelace")
  assert.equal(new URL(page.url()).hash, "", "the token is out of the address")
  await page.getByRole("button", { name: "Continue" }).click()
  await page.getByText("atn_user_").waitFor()
  await page.getByRole("button", { name: "Create your first agent" }).click()
  await page.getByRole("radio", { name: "Coder" }).click()
  await page.getByRole("button", { name: "Create agent" }).click()
  await page.getByRole("button", { name: "Talk to manager" }).click()

  await page.getByText("demo model", { exact: false }).first().waitFor()
  const box = page.getByLabel("Message")
  await box.fill("First line")
  await box.press("Shift+Enter")
  assert.match(await box.inputValue(), /^First line\n$/, "Shift+Enter breaks the line and sends nothing")
  await box.pressSequentially('/tool write {"path":"hello.md","content":"# Hello from the agent"}')
  await box.press("Enter")
  await page.getByText("Write file").waitFor()
  await answers(page).waitFor()
  assert.equal(await box.inputValue(), "", "Enter sends")
  await page.getByText(/tokens ·/).waitFor()

  await page.getByRole("link", { name: "hello.md", exact: true }).click()
  await page.getByRole("heading", { name: "Hello from the agent" }).waitFor()
  const soul = await server.call("GET", "/users/ada/agents/manager/templates")
  assert.match(soul.body.templates["SOUL.md"], /software engineer/, "the starting point's texts are the agent's")
  assert.deepEqual(faults, [])
})

test("a link opens once, and no key is left in the browser", async () => {
  const key = await account(server, "once")
  const { body } = await server.call("POST", "/users/once/sign-in-link")
  const one = await browser.open()
  await one.page.goto(body.url)
  await one.page.getByRole("navigation").waitFor()
  const two = await browser.open()
  await two.page.goto(body.url)
  await two.page.getByText("This link no longer works").waitFor()
  await signIn(two.page, key)
  const kept = await two.page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])")
  assert.ok(!String(kept).includes("atn_"), String(kept))
  const [cookie] = await two.context.cookies()
  assert.deepEqual([cookie?.httpOnly, cookie?.sameSite], [true, "Strict"])
})

test("the main navigation and an agent's tabs lead where they say", async () => {
  const { page, faults } = await browser.open()
  await signIn(page, await account(server, "navi"))
  const nav = page.getByRole("navigation", { name: "Main" })
  for (const name of ["Agents", "Secrets", "Skills", "Usage", "Logs"]) {
    await nav.getByRole("link", { name, exact: true }).click()
    await page.getByRole("heading", { name, exact: true, level: 1 }).waitFor()
  }
  await nav.getByRole("link", { name: "Chat", exact: true }).click()
  await page.getByLabel("Message").waitFor()
  assert.equal(
    await nav.getByRole("link", { name: "Platform" }).count(),
    0,
    "the platform's pages are an administrator's",
  )
  await nav.getByRole("link", { name: "Agents" }).click()
  await page.getByRole("link", { name: "manager" }).click()
  for (const name of ["Templates", "Files", "Keys", "Settings"]) {
    await page.getByRole("tab", { name, exact: true }).click()
    await page.waitForURL(`**/agents/manager/${name.toLowerCase()}`)
  }
  assert.deepEqual(faults, [])
})

test("an answer loses nothing when the network is cut in its middle", async () => {
  await using line = await lineTo(server.url)
  await using own = await startBrowser(line.url)
  const { page } = await own.open()
  await signIn(page, await account(server, "cut"))
  await say(page, WAITING)
  await page.getByText("line-1").first().waitFor()
  line.cut()
  await page.getByText("Connection lost").waitFor()
  assert.equal((await letGo("cut")).status, 201)
  line.mend()
  await answers(page).waitFor()
  const answer = await page.getByRole("article").textContent()
  for (const line of ["line-1", "line-2"]) assert.ok(answer?.includes(line), `${line} is there: ${answer}`)
})

test("a second tab and a reload follow an answer that is under way", async () => {
  const { page, context } = await browser.open()
  await signIn(page, await account(server, "tabs"))
  await say(page, WAITING)
  await page.getByText("line-1").first().waitFor()
  // Under way, it is in the list already.
  await page.locator(".at-conversations").getByRole("link").waitFor()
  const second = await context.newPage()
  await second.goto(page.url())
  await second
    .getByText(/line-\d/)
    .first()
    .waitFor()
  await second.getByRole("button", { name: "Stop" }).waitFor()
  await page.reload()
  await page.getByRole("button", { name: "Stop" }).waitFor()
  assert.equal((await letGo("tabs")).status, 201)
  for (const tab of [page, second]) {
    await answers(tab).waitFor()
    assert.match((await tab.getByRole("article").textContent()) ?? "", /line-2/)
  }
})

test("an answer can be stopped, and a question edited and sent again", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "halt"))
  await say(page, '/tool bash {"command":"echo begun; sleep 60"}')
  // What the command said, not the question: only then the run has begun.
  await page.getByText("begun", { exact: true }).first().waitFor()
  await page.getByRole("button", { name: "Stop" }).click()
  await page.getByText("Stopped.").waitFor()
  await page.reload()
  await page.getByText("Stopped.").waitFor()
  await page.getByRole("button", { name: "Edit", exact: true }).click()
  await page.getByLabel("Edit message").fill("Hello again")
  await page.getByRole("button", { name: "Resend" }).click()
  await answers(page).waitFor()
  assert.equal(await page.getByRole("article").count(), 1, "what came after the edited question is gone")
  const text = await page.getByRole("article").textContent()
  assert.ok(text?.includes("Hello again") && !text.includes("sleep 60"), String(text))
  await page.getByRole("button", { name: "Regenerate" }).click()
  await answers(page).waitFor()
  assert.equal(await page.getByRole("article").count(), 1)
})

test("an answer that cannot be had says why and can be asked for again", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "nokey"))
  const config = (model: string | null) => server.call("PATCH", "/users/nokey/agents/manager/config", { model })
  const { models } = (await server.call("GET", "/users/nokey/models")).body
  const other = models.find((m: { available: boolean }) => !m.available)
  assert.equal((await config(other.id)).status, 200)
  await say(page, "Are you there?")
  await page.getByText(/is not set/).waitFor()
  await page.getByText("Are you there?").first().waitFor()
  assert.equal((await config("demo/demo")).status, 200)
  await page.getByRole("button", { name: /^(Send again|Regenerate)$/ }).click()
  await answers(page).waitFor()
  assert.equal(await page.getByRole("article").count(), 1)
})

test("a sign-in that ended asks again and goes on where it was", async () => {
  const key = await account(server, "expired")
  const { page } = await browser.open()
  await signIn(page, key, "/u/expired/secrets")
  assert.equal((await server.call("DELETE", "/session?all=true", undefined, key)).status, 204)
  await page.getByRole("link", { name: "Skills" }).click()
  await page.getByLabel("API key", { exact: true }).fill(key)
  await page.getByRole("button", { name: "Sign in" }).click()
  await page.getByRole("heading", { name: "Skills", level: 1 }).waitFor()
  await page.getByRole("button", { name: "Account menu" }).click()
  await page.getByRole("menuitem", { name: "Sign out everywhere" }).click()
  await page.getByLabel("API key", { exact: true }).waitFor()
})

test("an agent that was deleted in another tab is said to be gone", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "gone"), "/u/gone/agents")
  await page.getByRole("link", { name: "manager" }).waitFor()
  assert.equal((await server.call("DELETE", "/users/gone/agents/manager")).status, 204)
  await page.getByRole("link", { name: "manager" }).click()
  await page.getByText("There is no agent named manager").waitFor()
  await page.goto("/u/gone/chat/manager")
  await page.getByText("There is no agent named manager").waitFor()
  await page.getByRole("button", { name: "Back to agents" }).click()
  await page.getByText("No agents yet").waitFor()
})

test("secrets: rows, a pasted .env, duplicates marked, all saved together, never shown", async () => {
  const { page, context } = await browser.open()
  await context.grantPermissions(["clipboard-read", "clipboard-write"])
  await signIn(page, await account(server, "secret"), "/u/secret/secrets")
  const nameOf = (n: number) => page.getByLabel(`Name ${n}`, { exact: true })
  const dotenv = 'export FIRST_KEY="one secret value"\n# a comment\nSECOND_KEY=two-secret-value\n'
  await page.evaluate(`navigator.clipboard.writeText(${JSON.stringify(dotenv)})`)
  await nameOf(1).press("Control+V")
  await nameOf(2).waitFor()
  assert.equal(await nameOf(2).inputValue(), "SECOND_KEY")
  await page.getByRole("button", { name: "Add row" }).click()
  await nameOf(3).fill("first_key")
  await page.getByText("This name is used twice").first().waitFor()
  assert.ok(await page.getByRole("button", { name: "Save all" }).isDisabled())
  await nameOf(3).fill("third_key")
  await page.getByLabel("Value 3").fill("short")
  await page.getByRole("button", { name: "Save all" }).click()
  await page.getByRole("cell", { name: "THIRD_KEY", exact: true }).waitFor()
  await page.getByText("not masked").waitFor()
  assert.ok(!(await page.content()).includes("one secret value"))
  await page.getByRole("button", { name: "Delete SECOND_KEY" }).click()
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click()
  await page.getByRole("cell", { name: "SECOND_KEY", exact: true }).waitFor({ state: "detached" })
  const { body } = await server.call("GET", "/users/secret/secrets")
  assert.deepEqual(
    body.secrets.map((s: { key: string }) => s.key),
    ["FIRST_KEY", "THIRD_KEY"],
  )
})

test("templates are edited, compared with the default and taken back to it", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "templ"), "/u/templ/agents/manager/templates")
  const box = page.getByRole("textbox", { name: "SOUL.md" })
  await box.fill("You are a lighthouse keeper.")
  await page.getByRole("button", { name: "Save", exact: true }).click()
  await page.getByText("set here", { exact: true }).waitFor()
  await page.getByText("Changes", { exact: true }).click()
  await page.getByText("+ You are a lighthouse keeper.").waitFor()
  await page.getByText("Edit", { exact: true }).click()
  await page.getByRole("button", { name: "Reset to default" }).click()
  await page.getByRole("dialog").getByRole("button", { name: "Reset to default" }).click()
  await page.getByText("from the platform").waitFor()
  const { body } = await server.call("GET", "/users/templ/agents/manager/templates")
  assert.deepEqual(body.templates, {})
})

test("files are uploaded, edited and deleted, and a deletion can be undone", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "files"), "/u/files/agents/manager/files")
  await page
    .locator('input[type="file"]')
    .setInputFiles({ name: "list.txt", mimeType: "text/plain", buffer: Buffer.from("milk\n") })
  await page.getByRole("button", { name: /list\.txt/ }).click()
  await page.getByRole("button", { name: "Edit" }).click()
  await page.getByRole("textbox", { name: "list.txt" }).fill("milk\nbread\n")
  await page.getByRole("button", { name: "Save" }).click()
  const read = () => server.call("GET", "/users/files/agents/manager/files/list.txt")
  await until(async () => (await read()).body === "milk\nbread\n", "the file is saved")
  await page.getByRole("button", { name: "Delete", exact: true }).click()
  await until(async () => (await read()).status === 404, "the file is deleted")
  await page.getByRole("button", { name: "Undo" }).click()
  await until(async () => (await read()).body === "milk\nbread\n", "the file is back")
})

test("an agent's network is set in plain fields, and a wrong domain is told", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "netty"), "/u/netty/agents/manager/settings")
  const config = async () => (await server.call("GET", "/users/netty/agents/manager")).body.config
  // What is typed elsewhere on the page survives this form's saving.
  await page.getByLabel("Maximum turns").fill("9")
  await page.getByRole("radio", { name: "The internet" }).check()
  await page.getByLabel("Only these domains").fill("GitHub.com\nhttps://pypi.org")
  const save = page.getByRole("button", { name: "Save network" })
  await save.click()
  await page.getByText(/network_allow\[1\]: a domain like example\.com/).waitFor()
  await page.getByLabel("Only these domains").fill("GitHub.com\npypi.org")
  await page.getByLabel("Never these domains").fill("gist.github.com")
  await save.click()
  await until(async () => (await config()).network === "egress", "it is stored")
  const stored = await config()
  assert.deepEqual(
    [stored.network_allow, stored.network_deny, stored.max_turns],
    [["github.com", "pypi.org"], ["gist.github.com"], 50],
  )
  const domains = () => page.getByLabel("Only these domains").inputValue()
  await until(async () => (await domains()) === "github.com\npypi.org", "the page shows what is stored")
  assert.equal(await page.getByLabel("Maximum turns").inputValue(), "9")
  await page.getByRole("radio", { name: "Nothing" }).check()
  await save.click()
  await until(async () => (await config()).network === "none", "it is off again")
})

test("settings count, keys are shown once, and deleting an agent takes its name", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "sets"), "/u/sets/agents/manager/settings")
  await page.getByLabel("Maximum turns").fill("7")
  await page.getByRole("switch", { name: "Run commands in the sandbox" }).uncheck()
  await page.getByRole("button", { name: "Save", exact: true }).click()
  await until(async () => {
    const { config } = (await server.call("GET", "/users/sets/agents/manager")).body
    return config.max_turns === 7 && config.tools.bash === false
  }, "the settings are stored")
  await page.getByRole("tab", { name: "Keys" }).click()
  await page.getByRole("button", { name: "Rotate key" }).click()
  await page.getByRole("dialog").getByRole("button", { name: "Rotate key" }).click()
  const key = (await page.getByText(/^atn_agent_/).textContent()) ?? ""
  assert.equal((await server.call("GET", "/users/sets/agents/manager", undefined, key)).status, 200)
  await page.getByRole("tab", { name: "Settings" }).click()
  await page.getByText(key).waitFor({ state: "detached" })
  await page.getByRole("button", { name: "Delete agent" }).click()
  const dialog = page.getByRole("dialog")
  assert.ok(await dialog.getByRole("button", { name: "Delete agent" }).isDisabled())
  await dialog.getByLabel("Type manager to confirm").fill("manager")
  await dialog.getByRole("button", { name: "Delete agent" }).click()
  await page.getByText("No agents yet").waitFor()
})

test("an administrator makes, looks at, suspends and deletes a user, visibly", async () => {
  const { page } = await browser.open()
  await signIn(page, server.adminKey, "/admin/users")
  await page.getByRole("button", { name: "New user" }).first().click()
  const dialog = page.getByRole("dialog")
  await dialog.getByLabel("User name").fill("newbie")
  await dialog.getByRole("button", { name: "New user" }).click()
  await dialog.getByText("atn_user_").waitFor()
  await dialog.getByRole("button", { name: "Done" }).click()
  await page.getByRole("link", { name: "newbie" }).click()

  await page.getByRole("button", { name: "Suspend" }).click()
  await page.getByRole("dialog").getByRole("button", { name: "Suspend" }).click()
  await page.getByRole("button", { name: "Reactivate" }).click()
  await page.getByLabel("Tier").selectOption("pro")
  await page.getByRole("button", { name: "Change plan" }).click()
  await until(async () => (await server.call("GET", "/users/newbie")).body.tier === "pro", "the plan is changed")

  await page.getByRole("button", { name: "View as this user" }).click()
  await page.getByRole("dialog").getByRole("button", { name: "View as this user" }).click()
  await page.getByText("You are viewing this account as newbie.").waitFor()
  assert.equal(await page.getByRole("link", { name: "Platform" }).count(), 0)
  await page.getByRole("button", { name: "Back to admin" }).click()
  await page.getByRole("heading", { name: "Budgets" }).waitFor()
  const audit = await server.call("GET", "/users/newbie/audit")
  assert.ok(audit.body.entries.some((e: { action: string }) => e.action === "users.impersonate"))

  await page.getByRole("button", { name: "Delete user" }).click()
  await page.getByLabel("Type newbie to confirm").fill("newbie")
  await page.getByRole("dialog").getByRole("button", { name: "Delete user" }).click()
  await until(async () => (await server.call("GET", "/users/newbie")).status === 404, "the user is deleted")
})

test("on a phone everything fits and the same links lead on", async () => {
  const { page, faults } = await browser.open({ viewport: PHONE })
  await signIn(page, await account(server, "phone"))
  await say(page, "Hello")
  await answers(page).waitFor()
  for (const name of ["Agents", "Secrets", "Skills", "Usage", "Logs", "Chat"]) {
    await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name, exact: true }).click()
    const title = name === "Chat" ? "manager" : name
    await page.getByRole("heading", { name: title, exact: true, level: 1 }).waitFor()
    const wide = await page.evaluate<number>("document.documentElement.scrollWidth - innerWidth")
    assert.ok(wide <= 0, `${name} is ${wide} px wider than the screen`)
  }
  await page.getByRole("button", { name: "Conversations" }).click()
  await page.getByRole("dialog").getByRole("link", { name: /Hello/ }).click()
  await page.getByRole("dialog").waitFor({ state: "detached" })
  await answers(page).waitFor()
  assert.deepEqual(faults, [])
})
