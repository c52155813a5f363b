import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type BrowserContext, chromium, type Page } from "playwright-core"

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
]

export const DESKTOP = { width: 1280, height: 820 }
export const PHONE = { width: 390, height: 844 }

export interface TestBrowser extends AsyncDisposable {
  /** A page of a fresh profile: nobody is signed in. What goes wrong in it is collected. */
  open(options?: { viewport?: { width: number; height: number }; colorScheme?: "light" | "dark" }): Promise<TestPage>
}

export interface TestPage {
  page: Page
  context: BrowserContext
  /** Uncaught errors, refusals of the page's policy, and requests that went anywhere but to the server. */
  faults: string[]
}

/** Debian's chromium with a profile that is thrown away. `origin` is the one place its pages may ask. */
export async function startBrowser(origin: string): Promise<TestBrowser> {
  const home = mkdtempSync(join(tmpdir(), "autonomis-chromium-"))
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS, env: { HOME: home } })
  return {
    async open({ viewport = DESKTOP, colorScheme = "light" } = {}) {
      const context = await browser.newContext({ viewport, colorScheme, reducedMotion: "reduce", baseURL: origin })
      context.setDefaultTimeout(15_000)
      const page = await context.newPage()
      const faults: string[] = []
      page.on("pageerror", (error) => faults.push(`error: ${error.message}`))
      page.on("console", (message) => {
        const text = message.text()
        if (/Content Security Policy|Refused to/i.test(text)) faults.push(`policy: ${text}`)
      })
      context.on("request", (request) => {
        const url = request.url()
        if (!url.startsWith(origin) && !/^(data|blob|about):/.test(url)) faults.push(`left the server: ${url}`)
      })
      return { page, context, faults }
    },
    async [Symbol.asyncDispose]() {
      await browser.close()
      rmSync(home, { recursive: true, force: true })
    },
  }
}
