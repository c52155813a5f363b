import assert from "node:assert/strict"
import { test } from "node:test"
import type { Locator, Page } from "playwright-core"
import { until } from "../test/until.ts"
import { startDashboard } from "./dashboard.ts"
import { account, signIn } from "./dashboard-pages.ts"

const { server, browser } = await startDashboard()

interface Form {
  path: string
  /** What holds the change. */
  field(page: Page): Locator
  text: string
  /** Before it can be changed. */
  open?(page: Page): Promise<void>
  save: string
}

const AGENT = "/u/draft/agents/manager"
const FORMS: Record<string, Form> = {
  templates: {
    path: `${AGENT}/templates`,
    field: (page) => page.getByRole("textbox", { name: "SOUL.md" }),
    text: "half a thought",
    save: "Save",
  },
  file: {
    path: `${AGENT}/files?path=notes.txt`,
    open: (page) => page.getByRole("button", { name: "Edit" }).click(),
    field: (page) => page.getByRole("textbox", { name: "notes.txt" }),
    text: "half a file",
    save: "Save",
  },
  settings: { path: `${AGENT}/settings`, field: (page) => page.getByLabel("Maximum turns"), text: "7", save: "Save" },
  description: {
    path: `${AGENT}/settings`,
    field: (page) => page.getByLabel("Description"),
    text: "Half described",
    save: "Save description",
  },
  secrets: {
    path: "/u/draft/secrets",
    open: (page) => page.getByLabel("Value 1").fill("a value of some length"),
    field: (page) => page.getByLabel("Name 1", { exact: true }),
    text: "HALF_KEY",
    save: "Save all",
  },
  "model key": {
    path: "/u/draft/secrets",
    field: (page) => page.getByLabel("Anthropic API key"),
    text: "sk-half",
    save: "Save and test",
  },
  budgets: {
    path: "/admin/users/draft",
    open: async (page) => void (await page.getByLabel("USD per day", { exact: true }).selectOption("Custom")),
    field: (page) => page.getByLabel("USD per day, value"),
    text: "$3",
    save: "Save budgets",
  },
}

/** Tells whether the browser asks before the page is loaded anew; the answer is always to stay. */
function watchReloads(page: Page): () => Promise<boolean> {
  let asked = 0
  page.on("dialog", async (dialog) => {
    if (dialog.type() === "beforeunload") asked++
    await dialog.dismiss()
  })
  return async () => {
    const before = asked
    let loaded = false
    page.once("load", () => {
      loaded = true
    })
    await page.evaluate("setTimeout(() => location.reload())")
    await until(() => loaded || asked > before, "the page was loaded anew, or asked")
    return asked > before
  }
}

test("each form with changes asks before its page is left or its tab closed, and no longer once it is saved", async () => {
  await account(server, "draft")
  assert.equal((await server.call("PUT", "/users/draft/agents/manager/files/notes.txt", "whole")).status, 201)
  const { page, faults } = await browser.open()
  const asksBeforeReload = watchReloads(page)
  await signIn(page, server.adminKey)
  for (const [name, { path, open, field, text, save }] of Object.entries(FORMS)) {
    await page.goto(path)
    await open?.(page)
    await field(page).fill(text)
    const elsewhere = page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Usage" })
    await elsewhere.click()
    const dialog = page.getByRole("dialog", { name: "Leave without saving?" })
    await dialog.getByRole("button", { name: "Stay" }).click()
    await dialog.waitFor({ state: "detached" })
    assert.equal(await field(page).inputValue(), text, `${name}: what was typed is there`)
    assert.ok(await asksBeforeReload(), `${name}: the tab asks`)
    assert.equal(await field(page).inputValue(), text)
    await elsewhere.click()
    await dialog.getByRole("button", { name: "Leave" }).click()
    await page.waitForURL("**/usage")
    assert.ok(!(await asksBeforeReload()), `${name}: nothing is held back afterwards`)

    await page.goto(path)
    await open?.(page)
    await field(page).fill(text)
    await page.getByRole("button", { name: save, exact: true }).click()
    await until(
      async () => {
        await elsewhere.click({ timeout: 1000 }).catch(() => undefined)
        if (page.url().endsWith("/usage")) return true
        await page.keyboard.press("Escape")
        return false
      },
      `${name}: what is saved is left without a question`,
      10_000,
    )
  }
  assert.deepEqual(faults, [])
})

test("a sign-in that ended in the middle of a form gives it back to the same person, and to nobody else", async () => {
  const [key, other] = [await account(server, "typist"), await account(server, "stranger")]
  const { page } = await browser.open()
  await signIn(page, key, "/u/typist/agents/manager/templates")
  const box = page.getByRole("textbox", { name: "SOUL.md" })
  const again = async (as: string) => {
    assert.equal((await server.call("DELETE", "/session?all=true", undefined, key)).status, 204)
    await page.getByRole("button", { name: "Save", exact: true }).click()
    await page.getByText("What you typed is kept").waitFor()
    assert.ok(!(await box.isVisible()))
    await page.getByLabel("API key", { exact: true }).fill(as)
    await page.getByRole("button", { name: "Sign in" }).click()
  }
  await box.fill("Written before the end.")
  await again(key)
  await box.waitFor()
  assert.equal(await box.inputValue(), "Written before the end.")
  await page.getByRole("button", { name: "Save", exact: true }).click()
  await page.getByText("set here", { exact: true }).waitFor()
  await box.fill("Nobody else's to read.")
  await again(other)
  await page.getByRole("button", { name: "Account menu of stranger" }).waitFor()
  assert.ok(!(await page.content()).includes("Nobody else's"))
})

test("two forms of one page ask once, and so do the browser's Back and signing out", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "twice"), "/u/twice/agents")
  await page.getByRole("link", { name: "manager" }).click()
  await page.getByRole("tab", { name: "Settings" }).click()
  await page.getByLabel("Maximum turns").fill("7")
  await page.getByLabel("Description").fill("Half described")
  const dialog = page.getByRole("dialog", { name: "Leave without saving?" })
  await page.goBack()
  await dialog.getByRole("button", { name: "Stay" }).click()
  assert.equal(await page.getByLabel("Maximum turns").inputValue(), "7")
  await page.waitForURL("**/settings")
  const signOut = async () => {
    await page.getByRole("button", { name: "Account menu" }).click()
    await page.getByRole("menuitem", { name: "Sign out", exact: true }).click()
  }
  await signOut()
  await dialog.getByRole("button", { name: "Stay" }).click()
  assert.equal(await page.getByLabel("Maximum turns").inputValue(), "7")
  await page.getByRole("tab", { name: "Keys" }).click()
  await dialog.getByRole("button", { name: "Leave" }).click()
  await page.getByRole("button", { name: "Rotate key" }).waitFor()
  assert.equal(await dialog.count(), 0)
  await page.getByRole("tab", { name: "Settings" }).click()
  await page.getByLabel("Description").fill("Half described")
  await signOut()
  await dialog.getByRole("button", { name: "Sign out" }).click()
  await page.getByLabel("API key", { exact: true }).waitFor()
  assert.equal(await page.getByText("What you typed is kept").count(), 0)
})
