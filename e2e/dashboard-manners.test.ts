import assert from "node:assert/strict"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test } from "node:test"
import type { Page } from "playwright-core"
import { startServer } from "../test/server.ts"
import { until } from "../test/until.ts"
import { startBrowser } from "./browser.ts"
import { lineTo } from "./cuttable.ts"
import { startDashboard } from "./dashboard.ts"
import { account, say, signIn } from "./dashboard-pages.ts"

const { server, browser } = await startDashboard()

/** What has the keyboard, by its name or text. */
const focused = (page: Page) =>
  page.evaluate<string>(
    "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent ?? '').trim()",
  )

test("a server that went away in mid-answer is said to be away; back again, the page says what became of the answer", async () => {
  const dataDir = mkdtempSync(join(tmpdir(), "autonomis-away-"))
  try {
    await using first = await startServer({ dataDir })
    await using line = await lineTo(first.url)
    await using own = await startBrowser(line.url)
    const { page } = await own.open()
    await signIn(page, await account(first, "away"))
    await say(page, '/tool bash {"command":"echo begun; sleep 60"}')
    // What the command said, not the question: only then the run has begun.
    await page.getByText("begun", { exact: true }).first().waitFor()
    await first.kill9()
    line.cut()
    await page.getByText("Connection lost").waitFor()
    await using second = await startServer({ dataDir })
    line.mend(second.url)
    // A run does not live through the server: it is told, and nothing of the conversation is lost.
    await page.getByText(/No answer: .*restarted/).waitFor()
    await page.getByRole("button", { name: "Edit", exact: true }).click()
    await page.getByLabel("Edit message").fill("Hello again")
    await page.getByRole("button", { name: "Resend" }).click()
    await page.getByRole("button", { name: "Copy answer" }).waitFor()
  } finally {
    rmSync(dataDir, { recursive: true, force: true })
  }
})

test("the keyboard reaches everything: skip link, menu, dialog and back to where it was", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "keys"), "/u/keys/agents")
  await page.getByRole("heading", { name: "Agents", level: 1 }).waitFor()
  await page.reload()
  await page.getByRole("button", { name: "Talk to manager" }).waitFor()
  await page.keyboard.press("Tab")
  assert.equal(await focused(page), "Skip to content")
  const ring = await page.evaluate<string>("getComputedStyle(document.activeElement).outlineStyle")
  assert.equal(ring, "solid", "what has the focus is seen")
  await page.keyboard.press("Enter")
  await page.keyboard.press("Tab")
  assert.equal(await focused(page), "Default templates")

  await page.getByRole("link", { name: "manager" }).press("Enter")
  await page.getByRole("tab", { name: "Templates" }).press("ArrowRight")
  await page.waitForURL("**/agents/manager/files")
  await page.getByRole("tab", { name: "Keys" }).click()
  const rotate = page.getByRole("button", { name: "Rotate key" })
  await rotate.press("Enter")
  await page.getByRole("dialog").waitFor()
  await page.keyboard.press("Escape")
  await page.getByRole("dialog").waitFor({ state: "detached" })
  await until(async () => (await focused(page)) === "Rotate key", "the focus is back on the button")
})

test("each page says in its title where one is", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "titles"), "/u/titles/agents")
  const titles: [string, RegExp][] = [
    ["/u/titles/chat/manager", /^manager · Chat · Autonomis$/],
    ["/u/titles/agents", /^Agents · Autonomis$/],
    ["/u/titles/agents/manager/files", /^Files · manager · Autonomis$/],
    ["/u/titles/secrets", /^Secrets · Autonomis$/],
    ["/u/titles/account", /^Plan and limits · Autonomis$/],
    ["/nowhere", /^Page not found · Autonomis$/],
  ]
  for (const [path, title] of titles) {
    await page.goto(path)
    await until(async () => title.test(await page.title()), `${path} has its title`)
  }
})

test("what one looks at stands in the address and can be linked to", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "links"), "/u/links/agents/manager/templates?file=TOOLS.md")
  await page.getByRole("textbox", { name: "TOOLS.md" }).waitFor()
  await page.getByText("USER.md", { exact: true }).click()
  await page.waitForURL("**?file=USER.md")
  await page.goto("/u/links/logs?level=error&q=some")
  assert.equal(await page.getByLabel("Filter").inputValue(), "some")
  assert.equal(await page.getByLabel("Level").inputValue(), "error")
  await page.getByLabel("Filter").fill("")
  await page.waitForURL((url) => url.search === "?level=error")
})

test("an upload replaces nothing unasked", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "over"), "/u/over/agents/manager/files")
  const path = "/users/over/agents/manager/files/notes.txt"
  assert.equal((await server.call("PUT", path, "the first")).status, 201)
  await page
    .locator('input[type="file"]')
    .setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("the second") })
  await page.getByText("A file with this name exists").waitFor()
  assert.equal((await server.call("GET", path)).body, "the first")
  await page.getByRole("button", { name: "Replace" }).click()
  await until(async () => (await server.call("GET", path)).body === "the second", "the file is replaced")
})

test("a long conversation is read page by page once, and after an answer only its end", async () => {
  const { page } = await browser.open()
  const key = await account(server, "long")
  const messages = Array.from({ length: 901 }, (_, i) => ({
    role: i % 2 === 0 ? "user" : "assistant",
    content: `line ${i}`,
  }))
  const chat = "/users/long/agents/manager/chat"
  assert.equal((await server.call("POST", chat, { session: "long", messages })).status, 200)
  let reads = 0
  page.on("request", (request) => {
    if (/\/sessions\/long\?/.test(request.url())) reads++
  })
  await signIn(page, key, "/u/long/chat/manager/long")
  await page.getByText("line 900", { exact: true }).waitFor()
  assert.equal(reads, 5)
  await say(page, "and one more")
  await page
    .getByText(/and one more/)
    .first()
    .waitFor()
  await page.getByRole("button", { name: "Regenerate" }).waitFor()
  assert.ok(reads <= 7, `${reads} reads`)
  // Cut in another tab, far before what was read last: nothing that is gone stays on the page.
  const { body } = await server.call("GET", "/users/long/agents/manager/sessions/long?limit=200")
  const path = `/users/long/agents/manager/sessions/long/messages/${body.messages[10].id}`
  assert.equal((await server.call("DELETE", path)).status, 204)
  await server.call("POST", chat, { session: "long", messages: [{ role: "user", content: "from elsewhere" }] })
  await page.evaluate("window.dispatchEvent(new Event('visibilitychange'))")
  await page.getByText("from elsewhere", { exact: true }).waitFor()
  assert.equal(await page.getByText("line 900", { exact: true }).count(), 0)
  await page.getByText("line 9", { exact: true }).waitFor()
})
