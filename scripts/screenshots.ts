import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { DESKTOP, PHONE, startBrowser } from "../e2e/browser.ts"
import { PAGES, signIn } from "../e2e/dashboard-pages.ts"
import { seed } from "../e2e/seed.ts"
import { ROOT, startServer } from "../test/server.ts"

/** Pages that are also shown as a phone has them. */
const ON_PHONE = new Set(["chat", "chat-new", "agents", "agent-files", "secrets", "usage"])

// npm run screenshots [-- page…]: every page in both themes, into docs/images.
const chosen = process.argv.slice(2)
const folder = process.env.SCREENSHOTS_DIR ?? join(ROOT, "docs/images")
await mkdir(folder, { recursive: true })
await using server = await startServer()
await using browser = await startBrowser(server.url)

const first = await browser.open()
await first.page.goto("/")
await first.page.getByLabel("API key").waitFor()
await first.page.screenshot({ path: join(folder, "sign-in.png") })
await signIn(first.page, server.adminKey)
await first.page.getByLabel("Your name").fill("Ada Lovelace")
await first.page.screenshot({ path: join(folder, "welcome.png") })

await seed(server)
for (const colorScheme of ["light", "dark"] as const) {
  for (const [viewport, suffix] of [
    [DESKTOP, ""],
    [PHONE, "-phone"],
  ] as const) {
    const { page, context } = await browser.open({ viewport, colorScheme })
    await signIn(page, server.adminKey)
    for (const { name, path, ready } of PAGES) {
      if (suffix && !ON_PHONE.has(name)) continue
      if (chosen.length > 0 && !chosen.includes(name)) continue
      try {
        await page.goto(path)
        await ready(page).waitFor({ timeout: 6000 })
        await page.waitForLoadState("load")
        // Colours of code come a moment later.
        await page.waitForTimeout(300)
      } catch (error) {
        process.exitCode = 1
        console.error(`${name}: ${error}`)
      }
      await page.screenshot({ path: join(folder, `${name}${suffix}-${colorScheme}.png`) })
    }
    await context.close()
  }
}

// The folder's own page shows them all, side by side.
const rows = PAGES.flatMap(({ name }) => [name, ...(ON_PHONE.has(name) ? [`${name}-phone`] : [])]).map((name) => {
  const width = name.endsWith("-phone") ? 195 : 420
  const image = (theme: string) => `<img src="${name}-${theme}.png" width="${width}" alt="${name}, ${theme}">`
  return `| ${name} | ${image("light")} | ${image("dark")} |`
})
const gallery = `# Every page of the dashboard

Made by \`npm run screenshots\`. Before there is an account: [signing in](sign-in.png), [the first start](welcome.png).

| page | light | dark |
|---|---|---|
${rows.join("\n")}
`
if (chosen.length === 0) await writeFile(join(folder, "README.md"), gallery)
