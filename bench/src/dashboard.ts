import type { Page } from "playwright-core"
import { startBrowser } from "../../e2e/browser.ts"
import { signIn } from "../../e2e/dashboard-pages.ts"
import { firstLoadKb } from "../../e2e/first-load.ts"
import { startServer, type TestServer } from "../../test/server.ts"
import { median, type Row } from "./rows.ts"

const MESSAGES = 5000
const FILES = 2000
const AGENT = "/users/big/agents/manager"

/** What the dashboard weighs, how soon it can be used, and whether much of anything makes it slow. */
export async function benchDashboard(): Promise<Row[]> {
  await using server = await startServer()
  await using browser = await startBrowser(server.url)
  await fill(server)
  const { page } = await browser.open()
  await signIn(page, server.adminKey)
  const starts: number[] = []
  for (let i = 0; i < 5; i++) starts.push(await usableAfter(page))

  await page.goto("/u/big/agents/manager/templates")
  await page.getByRole("textbox", { name: "SOUL.md" }).waitFor()
  const quiet = await frames(page, ".at-main")
  await page.goto("/u/big/chat/manager/long")
  await page.getByText(`question ${MESSAGES / 2 - 1}`, { exact: true }).waitFor()
  const chat = await frames(page, ".at-scroll")
  await page.goto("/u/big/agents/manager/files")
  await page.getByRole("button", { name: "file-0000.txt" }).waitFor()
  const more = page.getByRole("button", { name: /^Show \d+ more$/ })
  while ((await more.count()) > 0) await more.click()
  const files = await frames(page, ".at-files-side")
  return [
    { name: "dashboard: JavaScript of the first load, gzipped", median: await firstLoadKb(), unit: "KB", limit: 350 },
    { name: "dashboard: a page can be used after", median: median(starts), unit: "ms", limit: 1000 },
    { name: "dashboard: frame of a small page, p95", median: quiet, unit: "ms", limit: null },
    {
      name: `dashboard: frame while ${MESSAGES} messages scroll, p95`,
      median: chat / quiet,
      unit: "× small",
      limit: 4,
    },
    { name: `dashboard: frame while ${FILES} files scroll, p95`, median: files / quiet, unit: "× small", limit: 4 },
  ]
}

/** From the address to a message box that takes a letter. */
async function usableAfter(page: Page): Promise<number> {
  const began = performance.now()
  await page.goto("/u/big/chat/manager")
  await page.getByLabel("Message").press("a")
  return performance.now() - began
}

/** Scrolls as a quick reader does, up or down; the 95th percentile of the time between two frames. */
async function frames(page: Page, scroller: string): Promise<number> {
  return await page.evaluate<number>(`(async () => {
    const element = document.querySelector("${scroller}")
    const times = []
    let last = performance.now()
    const step = element.scrollTop > 0 ? -120 : 120
    for (let i = 0; i < 300; i++) {
      element.scrollTop += step
      await new Promise((done) => requestAnimationFrame(done))
      const now = performance.now()
      times.push(now - last)
      last = now
    }
    return times.sort((a, b) => a - b)[Math.floor(times.length * 0.95)]
  })()`)
}

async function fill(server: TestServer): Promise<void> {
  const made = async (method: string, path: string, body: unknown) => {
    const { status, body: answer } = await server.call(method, path, body)
    if (status >= 300) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(answer)}`)
  }
  await made("POST", "/users", { user: "big", tier: "enterprise" })
  await made("POST", "/users/big/agents", { name: "manager" })
  for (let from = 0; from < MESSAGES; from += 1000) {
    const messages = Array.from({ length: 999 }, (_, i) => {
      const n = Math.floor((from + i) / 2)
      return i % 2 === 0
        ? { role: "user", content: `question ${n}` }
        : { role: "assistant", content: `answer ${n}\n\n- a **list**\n- with \`code\`\n` }
    })
    await made("POST", `${AGENT}/chat`, { session: "long", messages })
  }
  for (let i = 0; i < FILES; i += 50)
    await Promise.all(
      Array.from({ length: 50 }, (_, j) =>
        made("PUT", `${AGENT}/files/file-${String(i + j).padStart(4, "0")}.txt`, `file ${i + j}`),
      ),
    )
}
