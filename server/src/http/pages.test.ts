import assert from "node:assert/strict"
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, before, test } from "node:test"
import { createPages } from "./pages.ts"
import { contract, startTestServer, type TestServer } from "./test-server.ts"

const SCRIPT = `console.log(${JSON.stringify("x".repeat(3000))})`
let folder: string
let server: TestServer

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "autonomis-pages-"))
  const dist = join(folder, "dist")
  mkdirSync(join(dist, "assets"), { recursive: true })
  writeFileSync(join(folder, "secret.txt"), "outside")
  symlinkSync(join(folder, "secret.txt"), join(dist, "link.txt"))
  writeFileSync(join(dist, "index.html"), '<meta name="style-nonce" content="__STYLE_NONCE__"><p>dashboard</p>')
  writeFileSync(join(dist, "favicon.svg"), "<svg/>")
  writeFileSync(join(dist, "assets", "index-3fa9c1.js"), SCRIPT)
  const endpoints = Object.values(contract.health)
  const pages = createPages({ endpoints, version: "1", publicUrl: () => "https://agents.example", dashboardDir: dist })
  server = await startTestServer([], { pages, publicUrl: () => "https://agents.example" })
})
after(async () => {
  await server[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

test("the reference needs no key and names the public address", async () => {
  const { status, body, headers } = await server.call("GET", "/api/v1/openapi.json")
  assert.deepEqual([status, body.openapi, body.servers], [200, "3.1.0", [{ url: "https://agents.example" }]])
  const etag = headers.get("etag") ?? ""
  const again = await server.call("GET", "/api/v1/openapi.json", { headers: { "If-None-Match": etag } })
  assert.equal(again.status, 304)
  const wrong = await server.call("POST", "/api/v1/openapi.json")
  assert.deepEqual([wrong.status, wrong.headers.get("allow")], [405, "GET, HEAD, OPTIONS"])
})

test("the reference's page loads nothing from outside, and may not", async () => {
  const page = await server.call("GET", "/docs")
  assert.equal(page.status, 200)
  assert.doesNotMatch(page.text, /https?:\/\//)
  const policy = page.headers.get("content-security-policy") ?? ""
  assert.match(policy, /default-src 'none'/)
  assert.doesNotMatch(policy, /https?:|\*/)
  for (const [, path = ""] of page.text.matchAll(/(?:src|href)="([^"]+)"/g)) {
    const file = await server.call("GET", path)
    assert.equal(file.status, 200, path)
  }
  assert.match((await server.call("GET", "/docs/start.js")).text, /validatorUrl: null/)
  for (const path of ["/docs/package.json", "/docs/index.html", "/docs/../package.json", "/docs/%2e%2e/package.json"])
    assert.notEqual((await server.call("GET", path)).status, 200, path)
})

test("the dashboard is served at the root and for its own addresses, with a nonce of each answer's own", async () => {
  const nonces = new Set<string>()
  for (const path of ["/", "/u/ada/chat/manager", "/admin", "/index.html"]) {
    const { status, text, headers } = await server.call("GET", path)
    assert.equal(status, 200, path)
    const nonce = /content="([\w-]{22})"/.exec(text)?.[1] ?? ""
    assert.match(headers.get("content-security-policy") ?? "", new RegExp(`style-src 'self' 'nonce-${nonce}'`))
    assert.doesNotMatch(headers.get("content-security-policy") ?? "", /unsafe/)
    assert.equal(headers.get("cache-control"), "no-store")
    assert.equal(headers.get("strict-transport-security"), "max-age=31536000")
    nonces.add(nonce)
  }
  assert.equal(nonces.size, 4)
})

test("built files are kept for ever by their hash, compressed, and only those of the build are there", async () => {
  const path = "/assets/index-3fa9c1.js"
  const script = await server.call("GET", path)
  assert.deepEqual([script.status, script.text], [200, SCRIPT])
  assert.equal(script.headers.get("content-encoding"), "gzip")
  assert.match(script.headers.get("cache-control") ?? "", /immutable/)
  assert.match(script.headers.get("content-type") ?? "", /javascript/)
  const plain = await server.call("GET", path, { headers: { "Accept-Encoding": "identity" } })
  assert.deepEqual([plain.headers.get("content-encoding"), plain.text], [null, SCRIPT])
  const head = await server.call("HEAD", path, { headers: { "Accept-Encoding": "identity" } })
  assert.deepEqual([head.status, head.text, head.headers.get("content-length")], [200, "", String(SCRIPT.length)])
  const icon = await server.call("GET", "/favicon.svg")
  assert.equal(icon.headers.get("cache-control"), "no-cache")
  const again = await server.call("GET", "/favicon.svg", {
    headers: { "If-None-Match": icon.headers.get("etag") ?? "" },
  })
  assert.equal(again.status, 304)
  for (const missing of ["/assets/index-000000.js", "/robots.txt", "/link.txt", "/..%2fsecret.txt", "/gateway/x"])
    assert.notEqual((await server.call("GET", missing)).status, 200, missing)
  assert.equal((await server.call("POST", "/admin")).status, 404)
  assert.equal((await server.call("GET", "/api/v1/nothing")).status, 401)
})

test("without a build there is nothing at the root", async () => {
  const pages = createPages({
    endpoints: [],
    version: "1",
    publicUrl: () => "http://x",
    dashboardDir: join(folder, "no"),
  })
  await using bare = await startTestServer([], { pages })
  assert.equal((await bare.call("GET", "/")).status, 404)
})
