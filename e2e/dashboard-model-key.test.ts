import assert from "node:assert/strict"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { request as ask, type RequestListener } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test as inAnyNetwork } from "node:test"
import { inOwnNetwork, runInOwnNetwork } from "../server/src/sandboxes/egress/own-network.ts"
import { startInternet } from "../test/doubles/internet.ts"
import { startOpenAiDouble } from "../test/doubles/openai.ts"
import { startServer } from "../test/server.ts"
import { startBrowser } from "./browser.ts"
import { account, say, signIn } from "./dashboard-pages.ts"

/** A user's key goes to the provider's own address, which is played here: no key that is typed may leave the test. */
const test = (name: string, run: () => Promise<void>) => void (inOwnNetwork && inAnyNetwork(name, run))
if (!inOwnNetwork)
  inAnyNetwork("a model key in the browser, in a network of the test's own", () =>
    runInOwnNetwork(import.meta.filename),
  )

const PROVIDER = "api.openai.com"
const GOOD = "sk-good-0123456789abcdef"
const WRONG = "sk-wrong-0123456789abcdef"

const passOn =
  (url: string): RequestListener =>
  (request, response) => {
    const { method = "GET", headers } = request
    const onward = ask(url + request.url, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers)
      answer.pipe(response)
    })
    request.pipe(onward)
  }

test("a wrong model key is said to be wrong and why; with the right one the agent answers by the real model", async () => {
  const folder = mkdtempSync(join(tmpdir(), "autonomis-ca-"))
  try {
    await using double = await startOpenAiDouble()
    double.script(({ headers }) =>
      headers.authorization === `Bearer ${GOOD}`
        ? { text: "Spoken by a real model." }
        : { error: { status: 401, message: `Incorrect API key provided: ${WRONG}.` } },
    )
    await using internet = await startInternet({ [PROVIDER]: "93.184.216.34" }, { [PROVIDER]: passOn(double.url) })
    const certificate = join(folder, "ca.pem")
    writeFileSync(certificate, internet.certificate)
    await using server = await startServer({ env: { NODE_EXTRA_CA_CERTS: certificate } })
    await using browser = await startBrowser(server.url)
    const { page, faults } = await browser.open()
    await signIn(page, await account(server, "keyed"), "/u/keyed/chat/manager")
    await page.getByText("This agent uses the demo model").waitFor()
    await page.getByRole("button", { name: "Add your model key" }).click()

    await page.getByLabel("Provider").selectOption("OpenAI")
    await page.getByLabel("OpenAI API key").fill(WRONG)
    await page.getByRole("button", { name: "Save and test" }).click()
    await page.getByText(/The test failed: .*Incorrect API key provided/).waitFor()
    assert.ok(!(await page.content()).includes(WRONG), "the page does not show the key again")
    // What is stored is tried again without being typed again.
    await page.getByRole("button", { name: "Test", exact: true }).click()
    await page.getByText(/The test failed: .*Incorrect API key provided/).waitFor()

    await page.getByLabel("OpenAI API key").fill(GOOD)
    await page.getByRole("button", { name: "Save and test" }).click()
    await page.getByText(/It works: openai\/\S+ answered in \d+ ms/).waitFor()
    assert.ok(!(await page.content()).includes(GOOD))
    await page.getByRole("link", { name: "Chat", exact: true }).click()
    await say(page, "Hello")
    await page.getByText("Spoken by a real model.").waitFor()
    assert.equal(await page.getByText("This agent uses the demo model").count(), 0)
    assert.ok(internet.asked.every((request) => request.startsWith(PROVIDER)))
    assert.deepEqual(faults, [])
  } finally {
    rmSync(folder, { recursive: true })
  }
})
