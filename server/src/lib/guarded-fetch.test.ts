import assert from "node:assert/strict"
import { createServer, type RequestListener } from "node:http"
import { test } from "node:test"
import { gzipSync } from "node:zlib"
import { createGuardedFetch, GuardedFetchError, type GuardedFetchOptions } from "./guarded-fetch.ts"

async function serve(listener: RequestListener) {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const address = server.address()
  if (address === null || typeof address === "string") throw new Error("no port")
  return {
    port: address.port,
    url: `http://127.0.0.1:${address.port}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const guarded = (options: Partial<GuardedFetchOptions> = {}) =>
  createGuardedFetch({ reach: "any", headersTimeoutMs: 5000, idleTimeoutMs: 5000, ...options })

const fails = (kind: GuardedFetchError["kind"], text: RegExp) => (error: unknown) =>
  error instanceof GuardedFetchError && error.kind === kind && text.test(error.message)

test("an answer passes whole, with method, headers and body of the request", async () => {
  await using server = await serve((request, response) => {
    request.pipe(
      response.setHeader("x-method", request.method ?? "").setHeader("x-key", String(request.headers["x-key"])),
    )
  })
  const response = await guarded()(server.url, { method: "POST", headers: { "x-key": "k" }, body: "hello" })
  assert.equal(await response.text(), "hello")
  assert.equal(response.headers.get("x-method"), "POST")
  assert.equal(response.headers.get("x-key"), "k")
})

test("a tenant's address is judged at each connection, and the connection goes to the judged address", async () => {
  await using server = await serve((request, response) => response.end(request.headers.host))
  const judged: string[] = []
  const resolve = async (hostname: string) => {
    judged.push(hostname)
    return { address: "127.0.0.1", family: 4 as const }
  }
  // The name has no address of its own: an answer shows that the judged one was taken.
  const response = await guarded({ reach: "public", resolve })(`http://nowhere.invalid:${server.port}/`)
  assert.equal(await response.text(), `nowhere.invalid:${server.port}`)
  assert.deepEqual(judged, ["nowhere.invalid"])
})

test("a tenant's address must be https and public, by number and by name", async () => {
  await using server = await serve((_request, response) => response.end("reached"))
  const fetch = guarded({ reach: "public" })
  await assert.rejects(fetch(server.url), fails("refused", /https/))
  await assert.rejects(fetch(`https://127.0.0.1:${server.port}/`), fails("refused", /not a public address/))
  await assert.rejects(fetch(`https://[::ffff:127.0.0.1]:${server.port}/`), fails("refused", /not a public address/))
  const rebound = guarded({
    reach: "public",
    resolve: () => Promise.reject(new Error("evil.test is not a public address")),
  })
  await assert.rejects(rebound(`http://evil.test:${server.port}/`), fails("network", /not a public address/))
})

test("a redirect is not followed", async () => {
  let asked = 0
  await using server = await serve((_request, response) => {
    asked++
    response.writeHead(302, { location: "/other" }).end()
  })
  await assert.rejects(guarded()(server.url), fails("refused", /redirect \(302\)/))
  assert.equal(asked, 1)
})

test("a line over the limit, an answer over the limit and a bomb are cut off", async () => {
  await using server = await serve((request, response) => {
    if (request.url === "/line") response.end("x".repeat(5000))
    else if (request.url === "/bomb") {
      response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("line\n".repeat(100_000)))
    } else if (request.url === "/declared") response.writeHead(200, { "content-length": 99_999 }).write("x\n")
    else response.end("line\n".repeat(4000))
  })
  const fetch = guarded({ maxLineBytes: 1000, maxBodyBytes: 10_000 })
  const read = async (path: string) => (await fetch(server.url + path)).text()
  await assert.rejects(read("line"), fails("too_large", /a line of the answer/))
  await assert.rejects(read("body"), fails("too_large", /over the limit of 10000/))
  await assert.rejects(read("bomb"), fails("too_large", /over the limit of 10000/))
  await assert.rejects(read("declared"), fails("too_large", /99999 bytes/))
})

test("waiting for headers and silence within an answer end; a slow answer that goes on does not", async () => {
  await using server = await serve((request, response) => {
    if (request.url === "/silent") response.write("a\n")
    if (request.url !== "/slow") return
    let sent = 0
    const timer = setInterval(() => {
      response.write("a\n")
      if (++sent === 8) {
        clearInterval(timer)
        response.end()
      }
    }, 50)
  })
  const seen: string[] = []
  const fetch = guarded({ headersTimeoutMs: 250, idleTimeoutMs: 250, onFailure: (error) => seen.push(error.kind) })
  await assert.rejects(fetch(`${server.url}never`), fails("timeout", /no answer within 0.3 s/))
  const response = await fetch(`${server.url}silent`)
  await assert.rejects(response.text(), fails("timeout", /silent for 0.3 s/))
  assert.equal(await (await fetch(`${server.url}slow`)).text(), "a\n".repeat(8))
  assert.deepEqual(seen, ["timeout", "timeout"])
})

test("a connection that fails tells why, and an abort is an abort", async () => {
  const { port } = await serve(() => {}).then(async (server) => {
    await server[Symbol.asyncDispose]()
    return server
  })
  await assert.rejects(guarded()(`http://127.0.0.1:${port}/`), fails("network", /ECONNREFUSED/))
  await using server = await serve(() => {})
  const abort = new AbortController()
  const asked = guarded()(server.url, { signal: abort.signal })
  abort.abort()
  await assert.rejects(asked, { name: "AbortError" })
})
