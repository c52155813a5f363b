import assert from "node:assert/strict"
import { before, test } from "node:test"
import { until } from "../test/until.ts"
import { startDashboard } from "./dashboard.ts"
import { signIn } from "./dashboard-pages.ts"

/** More than two pages of the list; ten thousand take a minute to make. */
const USERS = process.env.TEST_LONG ? 10_000 : 230
const nameOf = (n: number) => `user-${String(n).padStart(5, "0")}`
const LAST = nameOf(USERS - 1)

const { server, browser } = await startDashboard()
before(async () => {
  for (let from = 0; from < USERS; from += 10)
    await Promise.all(
      Array.from({ length: 10 }, (_, i) => from + i).map(async (n) => {
        const body = { user: nameOf(n), email: `person-${n}@example.com` }
        assert.equal((await server.call("POST", "/users", body)).status, 201)
      }),
    )
})

test("users are searched on the server and shown page by page, however many there are", async () => {
  const { page } = await browser.open()
  await signIn(page, server.adminKey, "/admin/users")
  const rows = page.getByRole("row")
  await page.getByText("Showing the first 100 users").waitFor()
  assert.equal(await rows.count(), 101)
  await page.getByRole("button", { name: "Show more" }).click()
  await page.getByText("Showing the first 200 users").waitFor()
  assert.equal(await rows.count(), 201)

  await page.getByLabel("Search by name or email").fill(`PERSON-${USERS - 1}@`)
  await page.getByText("1 user", { exact: true }).waitFor()
  await page.waitForURL(/\?q=PERSON-/)
  await page.getByRole("link", { name: LAST }).click()
  await page.getByRole("heading", { name: LAST, level: 1 }).waitFor()
  await page.goBack()
  await page.getByText("1 user", { exact: true }).waitFor()
  await page.getByLabel("Search by name or email").fill("nobody-at-all")
  await page.getByText("No user matches").waitFor()
})

test("an administrator goes to any user's pages by name, and comes back to them", async () => {
  const { page } = await browser.open()
  await signIn(page, server.adminKey, "/admin/users")
  await page.getByRole("button", { name: "switch to another" }).click()
  await page.getByText("Type to find others").waitFor()
  await page.getByLabel("Find a user").fill(LAST)
  await page.getByRole("dialog").getByRole("link", { name: LAST }).waitFor()
  await page.getByLabel("Find a user").press("Enter")
  await page.waitForURL(`**/u/${LAST}/agents`)
  await page.getByText("No agents yet").waitFor()
  // Also when that user is on none of the first pages.
  await page.goto("/admin/health")
  await page.getByRole("button", { name: `Account ${LAST}: switch to another` }).waitFor()
})

test("who views a user's dashboard leaves it signed in as administrator, by the banner, after the hour, and when it is closed", async () => {
  const { page, context, faults } = await browser.open()
  const user = nameOf(1)
  const view = async () => {
    await page.getByRole("button", { name: "View as this user" }).click()
    await page.getByRole("dialog").getByRole("button", { name: "View as this user" }).click()
    await page.getByText(`You are viewing this account as ${user}.`).waitFor()
  }
  const isAdmin = async () => {
    await page.waitForURL(`**/admin/users/${user}`)
    await page.getByRole("heading", { name: "Budgets" }).waitFor()
    await page.getByRole("link", { name: "Platform" }).waitFor()
    assert.equal(await page.getByText("You are viewing").count(), 0)
  }
  await signIn(page, server.adminKey, `/admin/users/${user}`)
  await view()
  const script = await page.evaluate<string>("document.cookie + JSON.stringify({ ...localStorage })")
  assert.ok(!script.includes("atn_"), "no key is where a script reads it")
  await page.getByRole("button", { name: "Back to admin" }).click()
  await isAdmin()

  // The hour is over: the browser has dropped the cookie.
  await view()
  await context.clearCookies({ name: "autonomis" })
  await page.getByRole("link", { name: "Secrets" }).click()
  await isAdmin()

  await view()
  assert.equal((await server.call("PUT", `/users/${user}/state`, { state: "suspended" })).status, 200)
  await page.reload()
  await isAdmin()
  assert.ok(await page.getByRole("button", { name: "View as this user" }).isDisabled())
  assert.equal((await server.call("PUT", `/users/${user}/state`, { state: "active" })).status, 200)

  // Signing out there signs out the administrator of this browser too.
  await page.reload()
  await view()
  await page.getByRole("button", { name: "Account menu" }).click()
  await page.getByRole("menuitem", { name: "Sign out", exact: true }).click()
  await page.getByLabel("API key", { exact: true }).waitFor()
  await page.reload()
  await page.getByLabel("API key", { exact: true }).waitFor()
  assert.deepEqual(await context.cookies(), [])
  assert.deepEqual(faults, [])
})

test("a suspended user is told so, and may sign in to another account", async () => {
  const { page } = await browser.open()
  const [key, other] = await Promise.all(
    [nameOf(2), nameOf(3)].map(async (user) => (await server.call("POST", `/users/${user}/rotate-key`)).body.api_key),
  )
  await signIn(page, key, `/u/${nameOf(2)}/agents`)
  assert.equal((await server.call("PUT", `/users/${nameOf(2)}/state`, { state: "suspended" })).status, 200)
  await page.reload()
  await page.getByText("This account is suspended").first().waitFor()
  await page.getByLabel("API key", { exact: true }).fill(other)
  await page.getByRole("button", { name: "Sign in" }).click()
  await page.getByRole("navigation").waitFor()
  await until(
    async () => (await page.getByRole("button", { name: "Account menu" }).count()) === 1,
    "the account's menu",
  )
})
