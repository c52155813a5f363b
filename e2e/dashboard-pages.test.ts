import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { after, before, test } from "node:test"
import { startServer, type TestServer } from "../test/server.ts"
import { DESKTOP, PHONE, startBrowser, type TestBrowser, type TestPage } from "./browser.ts"
import { PAGES, signIn } from "./dashboard-pages.ts"
import { seed } from "./seed.ts"

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

/** The browser has drawn what was changed. */
const TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"

let server: TestServer
let browser: TestBrowser
before(async () => {
  server = await startServer()
  browser = await startBrowser(server.url)
  await seed(server)
})
after(async () => {
  await browser?.[Symbol.asyncDispose]()
  await server?.[Symbol.asyncDispose]()
})

interface Violation {
  id: string
  help: string
  nodes: { html: string; failureSummary: string }[]
}

/** What axe finds in the page as it stands. The debugger's own channel runs it: the page's policy would refuse it. */
async function violations({ page }: TestPage): Promise<string[]> {
  await page.evaluate(AXE)
  const found = await page.evaluate<Violation[]>(
    `axe.run(document, { runOnly: ${JSON.stringify(RULES)} }).then((result) => result.violations)`,
  )
  return found.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes[0]?.html} ${nodes[0]?.failureSummary}`)
}

test("axe finds no violation on any page in either theme, and none is wider than a phone", async () => {
  const tab = await browser.open()
  const { page } = tab
  const found: string[] = []
  const look = async (name: string) => {
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" })
      await page.waitForFunction(`document.documentElement.dataset.mantineColorScheme === "${colorScheme}"`)
      await page.evaluate(TWO_FRAMES)
      for (const text of await violations(tab)) found.push(`${name}, ${colorScheme}: ${text}`)
    }
    await page.setViewportSize(PHONE)
    await page.evaluate(TWO_FRAMES)
    const wide = await page.evaluate<number>("document.documentElement.scrollWidth - innerWidth")
    if (wide > 0) found.push(`${name} is ${wide} px wider than a phone`)
    await page.setViewportSize(DESKTOP)
  }
  await page.goto("/")
  await page.getByLabel("API key").waitFor()
  await look("sign-in")
  await signIn(page, server.adminKey)
  for (const { name, path, ready } of PAGES) {
    await page.goto(path)
    await ready(page).waitFor()
    await look(name)
  }
  assert.deepEqual(found, [])
  assert.deepEqual(tab.faults, [])
})
