import assert from "node:assert/strict"
import { test } from "node:test"
import type { Page } from "playwright-core"
import { until } from "../test/until.ts"
import { startDashboard } from "./dashboard.ts"
import { account, say, signIn } from "./dashboard-pages.ts"
import { barsPng } from "./png.ts"

const RED = barsPng([0.9, 0.4, 0.6], [200, 60, 50])
const BLUE = barsPng([0.2, 0.5, 0.8], [50, 90, 200])

const { server, browser } = await startDashboard()

/** Sends two images with a text, and waits for the answer. */
async function sendImages(page: Page): Promise<void> {
  await page.locator(".at-composer input[type=file]").setInputFiles([
    { name: "red.png", mimeType: "image/png", buffer: RED },
    { name: "blue.png", mimeType: "image/png", buffer: BLUE },
  ])
  await page.getByAltText("blue.png").waitFor()
  await say(page, "Compare these two")
  await page.getByRole("button", { name: "Copy answer" }).waitFor()
}

/** How wide the images in the conversation are once they were decoded: 0 for one that could not be shown. */
const widths = (page: Page) =>
  page.evaluate<number[]>(
    `Promise.all([...document.querySelectorAll("article .at-picture img")].map((image) =>
      image.decode().then(() => image.naturalWidth, () => 0)))`,
  )

async function stored(user: string) {
  const { sessions } = (await server.call("GET", `/users/${user}/agents/manager/sessions`)).body
  const path = `/users/${user}/agents/manager/sessions/${sessions[0].session}`
  const { messages } = (await server.call("GET", path)).body
  const questions = messages.filter((m: { role: string }) => m.role === "user")
  return questions.map(({ content }: { content: string | { type: string; text?: string; hash?: string }[] }) =>
    typeof content === "string" ? [content] : content.map((part) => part.text ?? part.hash),
  )
}

test("images stay in a conversation that is opened again, and one is enlarged by keyboard and closed by Escape", async () => {
  const { page, faults } = await browser.open()
  await signIn(page, await account(server, "pics"))
  await sendImages(page)
  await page.reload()
  const first = page.getByRole("button", { name: "Enlarge attached image 1 of 2" })
  await first.waitFor()
  assert.deepEqual(await widths(page), [480, 480])
  await first.focus()
  await first.press("Enter")
  const dialog = page.getByRole("dialog", { name: "Attached image 1 of 2" })
  await dialog.getByRole("img", { name: "Attached image 1 of 2" }).waitFor()
  await dialog.getByRole("link", { name: "Download" }).waitFor()
  await page.keyboard.press("Escape")
  await dialog.waitFor({ state: "detached" })
  await until(() => first.evaluate((element) => element === element.ownerDocument.activeElement), "focus is back")
  assert.deepEqual(faults, [])
})

test("a question with images is answered again and edited with them, or without one of them", async () => {
  const { page } = await browser.open()
  await signIn(page, await account(server, "again"))
  await sendImages(page)
  await page.reload()
  const [[text, red, blue]] = await stored("again")
  assert.equal(text, "Compare these two")
  const answered = page.getByRole("button", { name: "Copy answer" })
  const sent = (want: unknown) =>
    until(async () => JSON.stringify(await stored("again")) === JSON.stringify(want), "the question is stored", 15_000)

  const before = (await server.call("GET", "/users/again/usage")).body.runs
  await page.getByRole("button", { name: "Regenerate" }).click()
  await until(async () => (await server.call("GET", "/users/again/usage")).body.runs > before, "it is asked again")
  await sent([[text, red, blue]])
  await answered.waitFor()
  assert.deepEqual(await widths(page), [480, 480])

  await page.getByRole("button", { name: "Edit", exact: true }).click()
  await page.getByLabel("Edit message").fill("Only this one")
  await page.getByRole("button", { name: "Remove attached image 1 of 2" }).click()
  await page.getByRole("button", { name: "Resend" }).click()
  await sent([["Only this one", blue]])
  await answered.waitFor()
  await page.reload()
  await page.getByRole("button", { name: "Enlarge attached image" }).waitFor()
  assert.deepEqual(await widths(page), [480])
})

test("an image that cannot be had now is asked for again on a click", async () => {
  const { page, context } = await browser.open()
  await signIn(page, await account(server, "later"))
  await sendImages(page)
  let refused = 0
  await context.route("**/images/*", (route) => {
    refused++
    return route.abort()
  })
  await page.reload()
  const retry = page.getByRole("button", { name: "Image not loaded. Try again" })
  await retry.nth(1).waitFor()
  assert.ok(refused >= 2)
  await context.unroute("**/images/*")
  await retry.first().click()
  await retry.first().click()
  await until(async () => (await widths(page)).join() === "480,480", "both are there")
})

test("an image that a tool looked at is shown while the run goes on, and when the conversation is opened again", async () => {
  const { page, faults } = await browser.open()
  await signIn(page, await account(server, "looks"))
  const files = "/users/looks/agents/manager/files"
  assert.equal((await server.call("PUT", `${files}/chart.png`, RED)).status, 201)
  // The second call holds the run until the test has seen what the first gave back.
  await say(page, '/tool read {"path":"chart.png"}\n/tool bash {"command":"until [ -e go ]; do sleep 0.1; done"}')
  const picture = page.getByRole("button", { name: "Enlarge image from the tool" })
  await picture.waitFor()
  await page.getByRole("button", { name: "Stop" }).waitFor()
  assert.deepEqual(await widths(page), [480])
  assert.equal((await server.call("PUT", `${files}/go`, "now")).status, 201)
  await page.getByRole("button", { name: "Copy answer" }).waitFor()
  assert.deepEqual(await widths(page), [480])
  await page.reload()
  await picture.waitFor()
  assert.deepEqual(await widths(page), [480])
  await page.getByText("Read file").click()
  const result = () => page.locator(".at-tool").first().innerText()
  await until(async () => /chart\.png \(image\/png, \d+ bytes\)/.test(await result()), "the result is shown")
  const text = await result()
  assert.ok(!text.includes("[image"), text)
  await picture.click()
  await page.getByRole("dialog", { name: "Image from the tool" }).getByRole("link", { name: "Download" }).waitFor()
  assert.deepEqual(faults, [])
})
