import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import { until } from "../test/until.ts"
import { makeZip, skillMd } from "../test/zip.ts"
import { startDashboardWithRegistry } from "./dashboard.ts"
import { account, signIn } from "./dashboard-pages.ts"

const { registry, server, browser } = await startDashboardWithRegistry()

test("an install from a slow registry shows its stage and how much has come, and says why when it breaks off", async () => {
  const { page, faults } = await browser.open()
  await signIn(page, await account(server, "slow"), "/u/slow/skills?q=hello")
  const gates = Array.from({ length: 8 }, () => Promise.withResolvers<void>())
  registry.slow((piece) => gates[piece]?.promise ?? Promise.resolve())
  await page.getByRole("button", { name: "Install hello-world" }).click()
  await page.getByText("Downloading…").waitFor()
  const amount = page.getByText(/^\d+ B of \d+ B$/)
  assert.match((await amount.textContent()) ?? "", /^0 B of/)
  const bar = page.getByRole("progressbar", { name: "Progress of the installation" })
  const value = async () => Number(await bar.getAttribute("aria-valuenow"))
  const before = await value()
  for (const gate of gates.slice(0, 4)) gate.resolve()
  await until(async () => !/^0 B/.test((await amount.textContent()) ?? ""), "some of it has come")
  await until(async () => (await value()) > before + 20, "the bar has moved")
  assert.equal(await page.getByRole("heading", { name: "hello-world", level: 2 }).count(), 0)
  for (const gate of gates) gate.resolve()
  await page.getByRole("heading", { name: "hello-world", level: 2 }).waitFor()
  await bar.waitFor({ state: "detached" })
  registry.slow(null)

  registry.tamper(true)
  await page.getByRole("button", { name: "Install hello-world" }).click()
  await page.getByText(/does not have the hash/).waitFor()
  assert.equal(await bar.count(), 0)
  registry.tamper(false)
  await page.getByRole("button", { name: "Install hello-world" }).click()
  await page.getByText(/does not have the hash/).waitFor({ state: "detached" })
  assert.deepEqual(faults, [])
})

test("an upload shows how much of the archive was sent", async () => {
  const { page, context, faults } = await browser.open()
  await signIn(page, await account(server, "sends"), "/u/sends/skills")
  const line = await context.newCDPSession(page)
  const megabytes = 1024 * 1024
  const conditions = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 2 * megabytes }
  await line.send("Network.emulateNetworkConditions", conditions)
  const buffer = makeZip([
    { name: "SKILL.md", data: skillMd("large") },
    { name: "noise.bin", data: randomBytes(4 * megabytes), deflate: false },
  ])
  await page.locator('input[type="file"]').setInputFiles({ name: "large.zip", mimeType: "application/zip", buffer })
  await page.getByRole("button", { name: "Install", exact: true }).click()
  await page.getByText("Uploading…").waitFor()
  await page.getByText(/^(\d\.)?\d+ (KiB|MiB) of 4\.0 MiB$/).waitFor()
  await page.getByRole("heading", { name: "large", level: 2 }).waitFor()
  await page.getByText("Uploading…").waitFor({ state: "detached" })
  assert.deepEqual(faults, [])
})
