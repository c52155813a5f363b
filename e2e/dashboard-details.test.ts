import assert from "node:assert/strict"
import { test } from "node:test"
import { startAnthropicDouble } from "../test/doubles/anthropic.ts"
import { startServer } from "../test/server.ts"
import { until } from "../test/until.ts"
import { startBrowser } from "./browser.ts"
import { startDashboard } from "./dashboard.ts"
import { account, say, signIn } from "./dashboard-pages.ts"

const { server, browser } = await startDashboard()

const MARKDOWN = `Here it is:

\`\`\`python
def double(x):
    return 2 * x
\`\`\`

| in | out |
|---|---|
| 2 | 4 |
`

test("an answer's code is coloured and copied, its table is a table, and the thinking before it is folded", async () => {
  await using double = await startAnthropicDouble()
  const env = {
    ANTHROPIC_API_KEY: "sk-ant-platform-0123456789",
    ANTHROPIC_BASE_URL: double.url,
    AUTONOMIS_DEFAULT_MODEL: "anthropic/claude-sonnet-4-5",
  }
  await using own = await startServer({ env })
  await using itsBrowser = await startBrowser(own.url)
  const { page, context, faults } = await itsBrowser.open()
  await context.grantPermissions(["clipboard-read", "clipboard-write"])
  const key = await account(own, "reader")
  const config = { thinking: "low" }
  assert.equal((await own.call("PATCH", "/users/reader/agents/manager/config", config)).status, 200)
  await signIn(page, key, "/u/reader/chat/manager")
  double.script([{ thinking: "Two times two is four.", text: MARKDOWN }])
  await say(page, "Write it down")
  await page.locator("code .hljs-keyword").first().waitFor()
  await page.getByRole("cell", { name: "4" }).waitFor()
  await page.getByRole("button", { name: "Copy code" }).click()
  assert.equal(await page.evaluate<string>("navigator.clipboard.readText()"), "def double(x):\n    return 2 * x")
  const thought = page.getByText("Two times two is four.")
  for (const reloaded of [false, true]) {
    if (reloaded) await page.reload()
    const fold = page.getByText("Thinking", { exact: true })
    await fold.waitFor()
    assert.ok(!(await thought.isVisible()))
    await fold.click()
    await thought.waitFor()
  }
  assert.deepEqual(faults, [])
})

test("an administrator pauses the platform and lets it go on, and who asks meanwhile is told", async () => {
  const key = await account(server, "waits")
  const { page } = await browser.open()
  await signIn(page, server.adminKey, "/admin/health")
  const pause = page.getByRole("switch", { name: "Paused" })
  await pause.click()
  await page.getByText("The platform is paused").waitFor()
  const user = await browser.open()
  await signIn(user.page, key, "/u/waits/chat/manager")
  await say(user.page, "Are you there?")
  await user.page.getByText(/cannot take your message at the moment: .*paused/).waitFor()
  await pause.click()
  await page.getByText("The platform is paused").waitFor({ state: "detached" })
  await user.page.getByRole("button", { name: "Copy answer" }).waitFor()
})

test("a key that is rotated with a grace is shown once, and the old one goes on for that long", async () => {
  const old = await account(server, "grace")
  const { page } = await browser.open()
  await signIn(page, old, "/u/grace/account")
  await page.getByLabel("The current key").selectOption("keeps working for 1 hour")
  await page.getByRole("button", { name: "Rotate key" }).click()
  await page.getByRole("dialog").getByRole("button", { name: "Rotate key" }).click()
  const fresh = (await page.getByText(/^atn_user_/).textContent()) ?? ""
  for (const key of [old, fresh]) assert.equal((await server.call("GET", "/users/grace", undefined, key)).status, 200)
  await page.reload()
  await page.getByRole("button", { name: "Rotate key" }).waitFor()
  assert.ok(!(await page.content()).includes(fresh))
})

test("models are chosen by name, with what they cost", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "picks"), "/u/picks/agents/manager/settings")
  const box = page.getByLabel("Model", { exact: true }).first()
  await box.fill("gpt-5.4-mini")
  const option = page.getByRole("option", { name: /^openai\/gpt-5\.4-mini\s+\$[\d.]+ in, \$[\d.]+ out$/ })
  await option.click()
  await page
    .getByText(/\$[\d.]+ in, \$[\d.]+ out · .* tokens of context · add the provider’s key under Secrets/)
    .waitFor()
  await page.getByRole("button", { name: "Save", exact: true }).click()
  const model = async () => (await server.call("GET", "/users/picks/agents/manager")).body.config.model
  await until(async () => (await model()) === "openai/gpt-5.4-mini", "the model is set")
})

test("times are the reader's own, the chosen theme stays, and the API reference is one click away", async () => {
  const { page, context } = await browser.open()
  const line = await context.newCDPSession(page)
  await line.send("Emulation.setTimezoneOverride", { timezoneId: "Pacific/Kiritimati" })
  const key = await account(server, "zones")
  await signIn(page, key, "/u/zones/account")
  const time = page.locator("time").first()
  const at = new Date((await time.getAttribute("datetime")) ?? "")
  const there = new Intl.DateTimeFormat("en-US", {
    ...{ dateStyle: "medium", timeStyle: "short", timeZone: "Pacific/Kiritimati" },
  })
  assert.equal(await time.getAttribute("title"), there.format(at))

  const theme = () => page.evaluate<string>("document.documentElement.dataset.mantineColorScheme")
  assert.equal(await theme(), "light")
  await page.getByRole("button", { name: "Use the dark theme" }).click()
  await page.reload()
  await page.getByRole("button", { name: "Use the light theme" }).waitFor()
  assert.equal(await theme(), "dark")

  const opened = context.waitForEvent("page")
  await page.getByRole("link", { name: "API reference" }).click()
  const reference = await opened
  await until(async () => (await reference.title()) === "Autonomis API", "the reference is there")
})

test("what is quick shows no sign of loading, and what is slow does", async () => {
  const { page, context } = await browser.open()
  await signIn(page, await account(server, "quick"), "/u/quick/skills")
  await page.getByText("No skills yet").waitFor()
  const { promise: gate, resolve: open } = Promise.withResolvers<void>()
  await context.route("**/secrets", async (route) => {
    await gate
    await route.continue()
  })
  await page.evaluate(`
    window.times = {}
    addEventListener("click", () => { window.times.click ??= performance.now() }, true)
    const look = () => {
      if (document.querySelector("main [aria-label=Loading]")) window.times.sign ??= performance.now()
    }
    new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true })
  `)
  await page.getByRole("link", { name: "Secrets" }).click()
  await page.getByRole("status", { name: "Loading" }).waitFor()
  // However slow the machine is, no timer rings early.
  const times = await page.evaluate<{ click: number; sign: number }>("window.times")
  assert.ok(times.sign - times.click >= 199, `hidden for ${times.sign - times.click} ms`)
  open()
  await page.getByRole("status", { name: "Loading" }).waitFor({ state: "detached" })
})
