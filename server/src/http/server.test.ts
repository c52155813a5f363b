import assert from "node:assert/strict"
import { once } from "node:events"
import { request as httpRequest } from "node:http"
import { addAbortSignal, Readable } from "node:stream"
import { after, before, describe, test } from "node:test"
import { gunzipSync } from "node:zlib"
import { contract } from "@autonomis/contract/endpoints.ts"
import { until } from "../../../test/until.ts"
import { AppError } from "../lib/errors.ts"
import { endpoint, type Origin, type Route } from "./endpoint.ts"
import { FREE, startTestServer, type TestServer } from "./test-server.ts"

const BASE = "/api/v1"
let paused = false
let origins: Origin[] = []
let signals: AbortSignal[] = []
let writes = 0
const secret = {
  key: "K",
  value: "********" as const,
  agents: null,
  masked: true,
  updated_at: "2026-01-01T00:00:00.000Z",
}

const routes: Route[] = [
  endpoint(contract.users.list, async ({ origin, query }) => {
    origins.push(origin)
    if (query.q === "boom") throw new Error("secret inside")
    return { users: [], next_cursor: null }
  }),
  endpoint(contract.platform.pause, async ({ body }) => {
    paused = body.paused
    return body
  }),
  endpoint(contract.secrets.list, async ({ origin }) => {
    origins.push(origin)
    return { secrets: Array.from({ length: 20 }, () => secret) }
  }),
  endpoint(contract.agents.configure, async () => {
    throw new AppError("conflict", "always")
  }),
  endpoint(contract.agents.ping, async ({ signal }) => {
    signals.push(signal)
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }))
    throw new AppError("cancelled", "gone")
  }),
  endpoint(contract.files.write, async ({ params, body, signal }) => {
    writes++
    if (body instanceof Readable) addAbortSignal(signal, body)
    let size = 0
    for await (const chunk of body) size += chunk.length
    return { path: params.path, size, modified_at: secret.updated_at, etag: "x" }
  }),
  endpoint(contract.files.delete, async () => undefined),
]

let server: TestServer
before(async () => {
  server = await startTestServer(routes, {
    timeouts: { headersMs: 300, requestMs: 600, checkMs: 50 },
    corsOrigins: ["https://app.example"],
    trustedProxies: ["127.0.0.1"],
  })
})
after(() => server[Symbol.asyncDispose]())
const call: TestServer["call"] = (...input) => server.call(...input)
const put = (body: unknown, headers: Record<string, string> = {}) =>
  call("PUT", `${BASE}/pause`, { key: "admin", body, headers })

describe("the order of checks", () => {
  const U = `${BASE}/users`
  const cases: [string, string, string | undefined, number, string?][] = [
    ["PUT", `${BASE}/pause`, undefined, 401],
    ["PUT", `${BASE}/pause`, "wrong", 401],
    ["PUT", `${BASE}/pause`, "ada", 403],
    ["PUT", `${BASE}/pause`, "ada/manager", 403],
    ["POST", `${BASE}/nothing`, undefined, 401],
    ["POST", `${BASE}/nothing`, "ada", 404, "there is nothing at this path"],
    ["POST", `${BASE}/pause`, "ada", 403],
    ["POST", `${BASE}/pause`, "admin", 405],
    ["GET", `${U}/nobody/secrets`, undefined, 401],
    ["GET", `${U}/nobody/secrets`, "ada", 404, "user not found"],
    ["GET", `${U}/bob/secrets`, "ada", 404, "user not found"],
    ["GET", `${U}/nobody/secrets`, "admin", 404, "user not found"],
    ["POST", `${U}/bob/nothing`, "ada", 404, "user not found"],
    ["POST", `${U}/ada/nothing`, "ada", 404, "there is nothing at this path"],
    ["POST", `${U}/ada/nothing`, "ada/manager", 403],
    ["GET", `${U}/ada/secrets`, "ada/manager", 403],
    ["PATCH", `${U}/ada/agents/nobody/config`, "ada", 404, "agent not found"],
    ["PATCH", `${U}/ada/agents/writer/config`, "ada/manager", 404, "agent not found"],
    ["PATCH", `${U}/ada/agents/manager/config`, "ada/manager", 403],
    ["DELETE", `${U}/ada/agents/manager/config`, "ada", 405],
    ["PATCH", `${U}/ada/agents/manager/config`, "ada", 400],
    ["GET", `${U}/%zz/secrets`, undefined, 401],
    ["GET", `${U}/ADA/secrets`, "ada", 404, "user not found"],
    ["GET", `${U}/${"a".repeat(5000)}/secrets`, "ada", 404, "user not found"],
    ["GET", `/%61pi/v1/%75sers/ada/secrets`, undefined, 401],
    ["GET", `/api%2fv1/users/ada/secrets`, undefined, 400],
    ["GET", `${U}/ada%00/secrets`, "ada", 404, "user not found"],
    ["GET", `${BASE}/users?q=%00`, "admin", 400],
  ]
  for (const [method, path, key, status, error] of cases)
    test(`${method} ${path.slice(0, 60)} with ${key ?? "no key"} is ${status}`, async () => {
      const wrong = method === "GET" || method === "DELETE" ? {} : { body: "{" }
      const answer = await call(method, path, { key, ...wrong })
      assert.equal(answer.status, status)
      if (error !== undefined) assert.deepEqual(answer.body, { error })
      if (status === 401) assert.equal(answer.text, '{"error":"missing or invalid API key"}')
      if (status === 405) assert.match(answer.headers.get("allow") ?? "", /OPTIONS/)
      assert.match(answer.headers.get("x-request-id") ?? "", /^req_/)
    })

  test("another's user and one who is not there are the same bytes", async () => {
    const [theirs, absent] = [
      await call("GET", `${U}/bob`, { key: "ada" }),
      await call("GET", `${U}/zed`, { key: "ada" }),
    ]
    assert.equal(theirs.text, absent.text)
    const visible = (headers: Headers) => [...headers].filter(([name]) => !["x-request-id", "date"].includes(name))
    assert.deepEqual(visible(theirs.headers), visible(absent.headers))
  })

  test("a suspended user's key is told so everywhere", async () => {
    server.directory.addKey("asleep", { kind: "user", userId: "usr_ada", suspended: true })
    const { status, body } = await call("GET", `${U}/ada/secrets`, { key: "asleep" })
    assert.deepEqual([status, body.code], [403, "suspended"])
  })
})

describe("bad bodies are a clear 4xx and change nothing", () => {
  const bodies: [string, string | Uint8Array, number, RegExp][] = [
    ["not JSON", "hello", 400, /not valid JSON/],
    ["half of one", '{"paused":tr', 400, /not valid JSON/],
    ["empty", "", 400, /./],
    ["an array", "[]", 400, /expected object/],
    ["null", "null", 400, /expected object/],
    ["a string", '"x"', 400, /expected object/],
    ["a number", "1", 400, /expected object/],
    ["a field too many", '{"paused":true,"more":1}', 400, /more: unknown field/],
    ["a field of another type", '{"paused":"yes"}', 400, /paused/],
    ["a field missing", "{}", 400, /paused/],
    ["__proto__", '{"paused":true,"__proto__":{"a":1}}', 400, /not valid JSON/],
    ["constructor.prototype", '{"paused":true,"constructor":{"prototype":{}}}', 400, /./],
    ["100,000 levels", "[".repeat(100_000), 400, /not valid JSON/],
    ["100,000 levels that close", `${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`, 400, /not valid JSON/],
    ["100,000 fields", `{${Array.from({ length: 100_000 }, (_, i) => `"${i}":1`).join()}}`, 413, /too many values/],
    ["bytes that are not UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d), 400, /not valid JSON/],
    ["over 1 MiB", `{"paused":true}${" ".repeat(1 << 20)}`, 413, /too large/],
    ["20 MiB", new Uint8Array(20 << 20).fill(0x20), 413, /too large/],
  ]
  for (const [name, body, status, error] of bodies)
    test(name, async () => {
      paused = false
      const answer = await put(body)
      assert.equal(answer.status, status)
      assert.match(String(answer.body.error), error)
      assert.equal(paused, false)
    })

  test("a body of another type, or of none, is 415", async () => {
    for (const type of ["text/plain", "application/xml", "multipart/form-data; boundary=x", "application/jsonx", "x"])
      assert.equal((await put('{"paused":true}', { "content-type": type })).status, 415, type)
    const untyped = await server.raw(
      `PUT ${BASE}/pause HTTP/1.1\r\nHost: x\r\nX-API-Key: admin\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{"paused":true}`,
    )
    assert.match(untyped, /^HTTP\/1.1 415/)
    assert.equal((await put('{"paused":false}', { "content-type": "application/json; charset=utf-8" })).status, 200)
  })

  test("a chunked body over the limit is 413, in JSON and in files", async () => {
    for (const [path, megabytes] of [
      [`${BASE}/pause`, 2],
      [`${BASE}/users/ada/agents/manager/files/big`, 26],
    ] as const) {
      const status = await new Promise<number>((resolve, reject) => {
        const headers = { "X-API-Key": "admin", "Content-Type": "application/json", "Transfer-Encoding": "chunked" }
        const request = httpRequest(`${server.url}${path}`, { method: "PUT", headers }, (response) => {
          response.resume()
          resolve(response.statusCode ?? 0)
        })
        request.on("error", reject)
        for (let i = 0; i < megabytes; i++) request.write(Buffer.alloc(1 << 20, 0x20))
        request.end()
      })
      assert.equal(status, 413, path)
    }
  })

  test("a file of any type is taken as bytes, up to its limit", async () => {
    const path = `${BASE}/users/ada/agents/manager/files/a/b.json`
    for (const type of ["application/json", "text/plain", "image/png"]) {
      const answer = await call("PUT", path, { key: "ada", body: '{"half', headers: { "content-type": type } })
      assert.deepEqual([answer.status, answer.body.size], [201, 6])
    }
    const tooLarge = await call("PUT", path, { key: "ada", body: new Uint8Array((25 << 20) + 1) })
    assert.equal(tooLarge.status, 413)
  })

  test("half a body, then silence or the end, is no answer of 5xx and leaves the server well", async () => {
    const head = `PUT ${BASE}/pause HTTP/1.1\r\nHost: x\r\nX-API-Key: admin\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"paused"`
    const silent = await server.raw(head)
    assert.match(silent, /^HTTP\/1.1 408 [\s\S]*"error"/)
    const socket = await server.socket()
    socket.end(head)
    let got = ""
    for await (const chunk of socket) got += chunk
    assert.doesNotMatch(got, /^HTTP\/1.1 5/)
    assert.equal((await call("GET", "/health")).status, 200)
  })

  test("a call without a body refuses fields and takes an empty object", async () => {
    const path = `${BASE}/users/ada/agents/manager/files/x`
    assert.equal((await call("DELETE", path, { key: "ada", body: {} })).status, 204)
    const answer = await call("DELETE", path, { key: "ada", body: { force: true } })
    assert.deepEqual(answer.body.details, [{ path: "force", message: "unknown field" }])
  })

  test("unknown and doubled query fields are named", async () => {
    const unknown = await call("GET", `${BASE}/users?limit=5&page=2`, { key: "admin" })
    assert.deepEqual(unknown.body.details, [{ path: "page", message: "unknown field" }])
    assert.equal((await call("GET", `${BASE}/users?limit=5&limit=6`, { key: "admin" })).status, 400)
    for (const limit of ["0", "201", "-1", "1.5", "x", "1e9", ""])
      assert.equal((await call("GET", `${BASE}/users?limit=${limit}`, { key: "admin" })).status, 400, limit)
  })
})

describe("what is no good HTTP", () => {
  test("a head that comes too slowly is cut with 408", async () => {
    for (const head of ["", "G", "GET /health HTTP/1.1\r\nHost: x\r\nX-A"])
      assert.match(await server.raw(head), /^HTTP\/1.1 408 [\s\S]*"code":"request_timeout"/)
  })
  test("a head over 16 KiB is 431; garbage is 400; both with an id and an error in JSON", async () => {
    const large = await server.raw(`GET /health HTTP/1.1\r\nHost: x\r\nX-A: ${"a".repeat(20_000)}\r\n\r\n`)
    assert.match(large, /^HTTP\/1.1 431 [\s\S]*X-Request-Id: req_[\s\S]*\{"error":/)
    for (const bytes of [
      "GARBAGE\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ])
      assert.match(await server.raw(bytes), /^HTTP\/1.1 400 [\s\S]*\{"error":/)
  })
  test("paths that play tricks are 400 or 404, never another route", async () => {
    const files = `${BASE}/users/ada/agents/manager/files`
    for (const tail of [
      "../x",
      "a/../../x",
      "%2e%2e/x",
      "a%2fb",
      "a%2Fb",
      "a%00b",
      "..%5cx",
      "a/./b",
      "%2e",
      "a%5cb",
    ]) {
      const bytes = `PUT ${files}/${tail} HTTP/1.1\r\nHost: x\r\nX-API-Key: ada\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx`
      assert.match(await server.raw(bytes), /^HTTP\/1.1 400 [\s\S]*the path is not valid/, tail)
    }
    for (const path of [`//${BASE}/users`, `/./api/v1/users`, `${BASE}/users/`, `${BASE}//users`])
      assert.match(
        await server.raw(`GET ${path} HTTP/1.1\r\nHost: x\r\nX-API-Key: admin\r\nConnection: close\r\n\r\n`),
        /^HTTP\/1.1 (400|404) /,
        path,
      )
  })
})

describe("manners", () => {
  test("HEAD is GET without a body; OPTIONS names the methods and needs no key", async () => {
    const [get, head] = [await call("GET", "/health"), await call("HEAD", "/health")]
    assert.deepEqual([head.status, head.text], [200, ""])
    for (const name of ["content-length", "etag", "content-type"])
      assert.equal(head.headers.get(name), get.headers.get(name), name)
    const options = await call("OPTIONS", `${BASE}/users/ada/secrets`)
    assert.deepEqual([options.status, options.headers.get("allow")], [204, "GET, HEAD, OPTIONS"])
    const files = await call("OPTIONS", `${BASE}/users/ada/agents/manager/files/a/b`)
    assert.equal(files.headers.get("allow"), "DELETE, OPTIONS, PUT")
  })

  test("a named origin may call by the browser, another may not", async () => {
    const headers = { Origin: "https://app.example", "Access-Control-Request-Method": "GET" }
    const preflight = await call("OPTIONS", `${BASE}/users`, { headers })
    assert.equal(preflight.headers.get("access-control-allow-origin"), "https://app.example")
    assert.match(preflight.headers.get("access-control-allow-headers") ?? "", /X-API-Key/)
    assert.match(preflight.headers.get("access-control-allow-methods") ?? "", /GET/)
    const get = await call("GET", `${BASE}/users`, { key: "admin", headers })
    assert.match(get.headers.get("access-control-expose-headers") ?? "", /X-Request-Id/)
    assert.equal(get.headers.get("access-control-allow-credentials"), null)
    const other = await call("GET", `${BASE}/users`, { key: "admin", headers: { Origin: "https://evil.example" } })
    assert.equal(other.headers.get("access-control-allow-origin"), null)
    assert.match(other.headers.get("vary") ?? "", /Origin/)
  })

  test("long JSON goes in gzip to who takes it, short never; the ETag saves the rest", async () => {
    const path = `${BASE}/users/ada/secrets`
    const raw = (encoding: string) =>
      new Promise<{ encoding: string | undefined; body: Buffer }>((resolve, reject) => {
        const headers = { "X-API-Key": "ada", "Accept-Encoding": encoding }
        httpRequest(`${server.url}${path}`, { headers }, (response) => {
          const chunks: Buffer[] = []
          response.on("data", (chunk: Buffer) => chunks.push(chunk))
          const encoding = response.headers["content-encoding"]
          response.on("end", () => resolve({ encoding, body: Buffer.concat(chunks) }))
        })
          .on("error", reject)
          .end()
      })
    const zipped = await raw("br, gzip;q=0.8")
    assert.equal(zipped.encoding, "gzip")
    const plain = await raw("gzip;q=0, identity")
    assert.equal(plain.encoding, undefined)
    assert.deepEqual(gunzipSync(zipped.body), plain.body)
    assert.equal(
      (await call("GET", "/health", { headers: { "Accept-Encoding": "gzip" } })).headers.get("content-encoding"),
      null,
    )

    const etag = (await call("GET", path, { key: "ada" })).headers.get("etag") ?? ""
    for (const header of [etag, etag.slice(2), `"x", ${etag}`, "*"]) {
      const again = await call("GET", path, { key: "ada", headers: { "If-None-Match": header } })
      assert.deepEqual([again.status, again.text], [304, ""], header)
    }
    assert.equal((await call("GET", path, { key: "ada", headers: { "If-None-Match": '"x"' } })).status, 200)
  })

  test("every 5xx says the same and nothing of what is inside", async () => {
    const { status, text } = await call("GET", `${BASE}/users?q=boom`, { key: "admin" })
    assert.deepEqual([status, text], [500, '{"error":"internal server error"}'])
  })

  test("the address is that of the client before the trusted proxies, and never text of the client", async () => {
    const cases: [string, string][] = [
      ["203.0.113.7", "203.0.113.7"],
      ["6.6.6.6, 203.0.113.7", "203.0.113.7"],
      ["2001:db8::1", "2001:db8::1"],
      ["<script>", "127.0.0.1"],
      ["", "127.0.0.1"],
    ]
    for (const [header, ip] of cases) {
      origins = []
      await call("GET", `${BASE}/users`, { key: "admin", headers: { "X-Forwarded-For": header } })
      assert.equal(origins[0]?.ip, ip, header)
    }
    await using direct = await startTestServer(routes)
    origins = []
    await direct.call("GET", `${BASE}/users`, { key: "admin", headers: { "X-Forwarded-For": "203.0.113.7" } })
    assert.equal(origins[0]?.ip, "127.0.0.1")
  })

  test("the audit's actor says who it was, also an administrator in a user's place", async () => {
    server.directory.addKey("as-ada", { kind: "user", userId: "usr_ada", impersonatedBy: "admin" })
    origins = []
    for (const key of ["admin", "ada", "as-ada"]) await call("GET", `${BASE}/users/ada/secrets`, { key })
    assert.deepEqual(
      origins.map((o) => o.actor),
      ["admin", "user:ada", "admin as user:ada"],
    )
  })

  test("a handler learns at once that its client went away or its key died", async () => {
    const path = `${BASE}/users/ada/agents/manager/ping`
    signals = []
    const gone = new AbortController()
    const fetching = fetch(`${server.url}${path}`, { headers: { "X-API-Key": "ada" }, signal: gone.signal }).catch(
      () => {},
    )
    await until(() => signals[0], "the handler to run")
    gone.abort()
    await until(() => signals[0]?.aborted, "its signal to abort")
    await fetching
    const dying = call("GET", path, { key: "bob/manager" }).catch(() => {})
    const other = call("GET", `${BASE}/users/bob/agents/manager/ping`, { key: "bob/manager" })
    await until(() => signals[1], "the second to run")
    server.directory.dead.get("bob/manager")?.abort()
    assert.equal((await other).status, 409)
    await dying
  })

  test("a key that dies while its body is on the way is 401, not a failure of the server", async () => {
    server.directory.addKey("dying", { userId: "usr_ada" })
    writes = 0
    const one = await server.socket()
    one.write(`PUT ${BASE}/users/ada/agents/manager/files/half HTTP/1.1\r\nHost: x\r\nX-API-Key: dying\r\n`)
    one.write("Content-Length: 10\r\n\r\nhalf")
    await until(() => writes === 1, "the handler to run")
    server.directory.dead.get("dying")?.abort()
    const [answer] = await once(one, "data")
    one.destroy()
    assert.match(String(answer), /^HTTP\/1\.1 401 /)
  })
})

describe("rates", () => {
  test("a plan's requests a minute hold over all of a user's keys; refused ones count; others and admins are free", async () => {
    await using limited = await startTestServer(routes)
    const limits = { ...FREE, requests_per_minute: 5 }
    limited.directory.addKey("slow", { kind: "user", userId: "usr_ada", limits })
    limited.directory.addKey("slow-agent", { kind: "agent", userId: "usr_ada", agentId: "agt_ada_manager", limits })
    const path = `${BASE}/users/ada/secrets`
    const first = await limited.call("GET", path, { key: "slow" })
    assert.deepEqual(
      ["limit", "remaining"].map((n) => first.headers.get(`ratelimit-${n}`)),
      ["5", "4"],
    )
    assert.ok(Number(first.headers.get("ratelimit-reset")) > 0)
    for (let i = 0; i < 4; i++) await limited.call("GET", path, { key: "slow-agent" })
    const refused = await limited.call("GET", path, { key: "slow" })
    assert.deepEqual([refused.status, refused.body.code], [429, "rate_limited"])
    assert.ok(Number(refused.headers.get("retry-after")) >= 1)
    // Told after the faults that come first in the order.
    assert.equal((await limited.call("GET", `${BASE}/users/bob/secrets`, { key: "slow" })).status, 404)
    assert.equal((await limited.call("GET", `${path}?x=1`, { key: "slow" })).status, 400)
    for (const key of ["admin", "bob"]) {
      const answer = await limited.call("GET", `${BASE}/users/bob/secrets`, { key })
      assert.deepEqual([answer.status, answer.headers.get("ratelimit-limit")], [200, null])
    }
  })

  test("more than 100 wrong keys a minute are 429; a good key, or none, is never held up", async () => {
    await using guarded = await startTestServer(routes)
    const path = `${BASE}/users/ada/secrets`
    for (let i = 0; i < 100; i++) assert.equal((await guarded.call("GET", path, { key: `wrong${i}` })).status, 401)
    const held = await guarded.call("GET", path, { key: "wrong" })
    assert.equal(held.status, 429)
    assert.ok(Number(held.headers.get("retry-after")) >= 1)
    assert.equal((await guarded.call("GET", path, { key: "ada" })).status, 200)
    assert.equal((await guarded.call("GET", path)).status, 401)
    assert.equal((await guarded.call("GET", "/health", { key: "wrong" })).status, 200)
  })
})

describe("the dashboard's cookie", () => {
  const Cookie = "a=b; autonomis=atn_cookie_ada; c=d"
  const path = `${BASE}/users/ada/agents/manager/files/x`
  before(() => server.directory.addKey("atn_cookie_ada", { kind: "user", userId: "usr_ada" }))

  test("counts as its key, but a change needs an origin of the same site", async () => {
    assert.equal((await call("GET", `${BASE}/users/ada/secrets`, { headers: { Cookie } })).status, 200)
    for (const [Origin, status] of [
      [server.url, 204],
      ["https://evil.example", 403],
      ["null", 403],
      [undefined, 403],
    ] as const) {
      const headers: Record<string, string> = { Cookie }
      if (Origin !== undefined) headers.Origin = Origin
      assert.equal((await call("DELETE", path, { headers })).status, status, Origin ?? "none")
    }
  })
  test("its token is no key in a header, and a key is no cookie", async () => {
    assert.equal((await call("GET", `${BASE}/users/ada/secrets`, { key: "atn_cookie_ada" })).status, 401)
    const headers = { Cookie: "autonomis=ada" }
    assert.equal((await call("GET", `${BASE}/users/ada/secrets`, { headers })).status, 401)
  })
})
