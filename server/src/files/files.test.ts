import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { globSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { request as httpRequest } from "node:http"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { test } from "node:test"
import { MAX_ENTRIES, MAX_FILE_BYTES } from "@autonomis/contract/files.ts"
import { type AppCall, startApp, type TestApp } from "../../../test/app.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import { until } from "../../../test/until.ts"
import { BUILT_IN_PLANS } from "../plans/plans.ts"

const AT = "/users/ada/agents/manager/files"

/** An app with `ada`, whose agent is `manager`; `call` uses her key. */
async function withAgent(app: TestApp) {
  const key = (await app.call("POST", "/users", { body: { user: "ada" } })).body.api_key
  const made = await app.call("POST", "/users/ada/agents", { key, body: { name: "manager" } })
  const call = (method: string, path: string, options: AppCall = {}) => app.call(method, AT + path, { key, ...options })
  return { key, agentKey: made.body.agents[0].api_key, call }
}

type Named = { name: string }

/** A request whose path is sent as it is written. */
function raw(app: TestApp, key: string, method: string, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(app.url)
    const sent = httpRequest({ hostname, port, method, path: `/api/v1${AT}${path}`, headers: { "X-API-Key": key } })
    sent.on("response", (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    sent.on("error", reject)
    sent.end()
  })
}

async function workspace(app: TestApp): Promise<string> {
  return until(() => globSync(`${app.dataDir}/users/*/agents/*/workspace`)[0], "the workspace")
}

forEachDatabase((_name, open) => {
  test("files are written, read in whole and in part, listed and deleted", async () => {
    const db = await open()
    await using app = await startApp(db)
    const { call } = await withAgent(app)
    const made = await call("PUT", "/a/b.txt", { body: "hello world" })
    assert.deepEqual([made.status, made.body.path, made.body.size], [201, "a/b.txt", 11])
    assert.equal(made.headers.get("etag"), made.body.etag)
    assert.equal((await call("PUT", "/a/b.txt", { body: "hello, world" })).status, 200)

    const read = await call("GET", "/a/b.txt")
    assert.deepEqual([read.status, read.text], [200, "hello, world"])
    assert.equal(read.headers.get("content-type"), "text/plain; charset=utf-8")
    assert.equal(read.headers.get("x-content-type-options"), "nosniff")
    assert.equal(read.headers.get("content-security-policy"), "sandbox")
    assert.equal(read.headers.get("content-length"), "12")
    const etag = read.headers.get("etag") ?? ""
    assert.notEqual(etag, made.body.etag)

    const part = await call("GET", "/a/b.txt", { headers: { Range: "bytes=7-8" } })
    assert.deepEqual([part.status, part.text, part.headers.get("content-range")], [206, "wo", "bytes 7-8/12"])
    const beyond = await call("GET", "/a/b.txt", { headers: { Range: "bytes=12-" } })
    assert.deepEqual([beyond.status, beyond.headers.get("content-range")], [416, "bytes */12"])
    const ranges = { Range: "bytes=0-1,3-4" }
    assert.deepEqual([(await call("GET", "/a/b.txt", { headers: ranges })).text], ["hello, world"])
    const stale = { Range: "bytes=0-1", "If-Range": made.body.etag }
    assert.equal((await call("GET", "/a/b.txt", { headers: stale })).status, 200)
    const head = await call("HEAD", "/a/b.txt")
    assert.deepEqual([head.status, head.text, head.headers.get("content-length")], [200, "", "12"])
    const same = await call("GET", "/a/b.txt", { headers: { "If-None-Match": etag } })
    assert.deepEqual([same.status, same.text], [304, ""])

    const root = (await call("GET", "/")).body
    assert.deepEqual(
      [root.path, root.entries.length, root.entries[0].name, root.entries[0].type],
      ["", 1, "a", "directory"],
    )
    assert.deepEqual((await call("GET", "")).body, root)
    const folder = (await call("GET", "/a")).body
    assert.deepEqual([folder.path, folder.entries[0].name, folder.entries[0].size], ["a", "b.txt", 12])

    assert.equal((await call("DELETE", "/a")).status, 409)
    assert.equal((await call("DELETE", "/a?recursive=true")).status, 204)
    for (const method of ["GET", "DELETE"]) assert.equal((await call(method, "/a/b.txt")).status, 404)
    assert.equal((await call("DELETE", "/")).status, 400)
    const audit = (await app.call("GET", "/users/ada/audit")).body.entries.map(
      (e: { action: string; target: string }) => [e.action, e.target],
    )
    assert.deepEqual(audit[0], ["files.delete", "file:ada/manager/a"])
  })

  test("conditions guard against another's write", async () => {
    const db = await open()
    await using app = await startApp(db)
    const { call } = await withAgent(app)
    const put = (headers: Record<string, string>) => call("PUT", "/f.txt", { body: "x", headers })
    assert.equal((await put({ "If-Match": "*" })).status, 412)
    const first = await put({ "If-None-Match": "*" })
    assert.equal(first.status, 201)
    assert.equal((await put({ "If-None-Match": "*" })).status, 412)
    assert.equal((await put({ "If-Match": '"other"' })).status, 412)
    const second = await put({ "If-Match": `"other", ${first.body.etag}` })
    assert.equal(second.status, 200)
    assert.equal((await put({ "If-Match": first.body.etag })).status, 412)
    assert.equal((await call("GET", "/f.txt", { headers: { "If-Match": first.body.etag } })).status, 412)
    const both = await Promise.all(
      Array.from({ length: 10 }, () => call("PUT", "/new.txt", { body: "x", headers: { "If-None-Match": "*" } })),
    )
    assert.deepEqual(both.map((one) => one.status).sort(), [201, ...Array(9).fill(412)])
  })

  test("a condition guards against deleting what another has written since", async () => {
    const db = await open()
    await using app = await startApp(db)
    const { call } = await withAgent(app)
    const first = (await call("PUT", "/f.txt", { body: "1" })).body.etag
    const second = (await call("PUT", "/f.txt", { body: "2" })).body.etag
    const remove = async (tag: string, path = "/f.txt") =>
      (await call("DELETE", path, { headers: { "If-Match": tag } })).status
    assert.equal(await remove("*", "/missing"), 404)
    for (const stale of [first, `W/${second}`, '"other"']) assert.equal(await remove(stale), 412, stale)
    assert.equal((await call("GET", "/f.txt")).text, "2")
    assert.equal(await remove(`${first}, ${second}`), 204)
    await call("PUT", "/f.txt", { body: "3" })
    symlinkSync("f.txt", join(await workspace(app), "link"))
    const shown = (await call("GET", "/link")).headers.get("etag") ?? ""
    assert.equal(await remove(first, "/link"), 412)
    assert.equal(await remove(shown, "/link"), 204)
    assert.equal((await call("GET", "/f.txt")).text, "3")
    assert.equal(await remove("*"), 204)
  })

  test("a folder of thousands of files is listed whole, each once and in order", async () => {
    const db = await open()
    await using app = await startApp(db)
    const { call } = await withAgent(app)
    await call("PUT", "/many/0", { body: "x" })
    const folder = join(await workspace(app), "many")
    for (let i = 1; i < 2_500; i++) writeFileSync(join(folder, String(i)), "")
    const { entries } = (await call("GET", "/many")).body
    assert.deepEqual(
      entries.map((entry: { name: string }) => entry.name),
      Array.from({ length: 2_500 }, (_, i) => String(i)).sort(),
    )
  })

  test("a folder of more entries than one answer holds is given by pages that stay right while files come and go", async () => {
    const db = await open()
    await using app = await startApp(db)
    const { call } = await withAgent(app)
    await call("PUT", "/many/0", { body: "x" })
    const folder = join(await workspace(app), "many")
    const name = (i: number) => `f${String(i).padStart(5, "0")}`
    for (let i = 0; i < MAX_ENTRIES; i++) writeFileSync(join(folder, name(i)), "")
    const first = (await call("GET", "/many")).body
    assert.equal(first.entries.length, MAX_ENTRIES)
    const rest = (await call("GET", `/many?cursor=${first.next_cursor}`)).body
    assert.deepEqual(
      [rest.entries.map(({ name }: Named) => name), rest.next_cursor],
      [[name(MAX_ENTRIES - 1)], undefined],
    )

    // Whole, there is nothing to go on with.
    rmSync(join(folder, name(7)))
    assert.deepEqual(Object.keys((await call("GET", "/many")).body).sort(), ["entries", "path"])

    const seen: string[] = []
    let cursor = ""
    for (let i = 0; i < 3; i++) {
      const { entries, next_cursor } = (await call("GET", `/many?limit=150${cursor}`)).body
      assert.equal(entries.length, 150)
      seen.push(...entries.map(({ name }: Named) => name))
      cursor = `&cursor=${next_cursor}`
      rmSync(join(folder, seen.at(-1) ?? ""))
      writeFileSync(join(folder, "a-new-one"), "")
    }
    assert.deepEqual(seen, ["0", ...Array.from({ length: 450 }, (_, i) => name(i)).filter((_, i) => i !== 7)])

    for (const query of ["limit=0", "limit=201", "limit=x", "cursor=", "cursor=x", "page=2"])
      assert.equal((await call("GET", `/many?${query}`)).status, 400, query)
    assert.equal((await call("GET", `/many/${name(1)}?limit=5`)).status, 400)
  })

  test("a name of any bytes can end a page", async () => {
    const db = await open()
    await using app = await startApp(db)
    const { call } = await withAgent(app)
    await call("PUT", "/odd/z", { body: "x" })
    const folder = Buffer.from(`${await workspace(app)}/odd/`)
    for (const byte of [0x01, 0x22, 0xff]) writeFileSync(Buffer.concat([folder, Buffer.alloc(255, byte)]), "")
    const names: string[] = []
    for (let cursor: string | undefined = ""; cursor !== undefined; ) {
      const page: { entries: Named[]; next_cursor?: string } = (
        await call("GET", `/odd?limit=1${cursor && `&cursor=${cursor}`}`)
      ).body
      names.push(...page.entries.map(({ name }) => name))
      cursor = page.next_cursor
    }
    assert.deepEqual(names.slice(0, 3), ["\x01".repeat(255), '"'.repeat(255), "z"])
  })

  test("no path leads out of the workspace, and nothing but files and folders is touched or waited for", async () => {
    const db = await open()
    await using app = await startApp(db)
    const { key, call } = await withAgent(app)
    await call("PUT", "/inside.txt", { body: "inside" })
    const root = await workspace(app)
    writeFileSync(join(app.dataDir, "secret.txt"), "outside")
    execFileSync("/usr/bin/mkfifo", [join(root, "fifo")])
    symlinkSync("/etc/passwd", join(root, "abroad"))
    symlinkSync(app.dataDir, join(root, "up"))
    symlinkSync("/dev/zero", join(root, "device"))
    symlinkSync("inside.txt", join(root, "home"))
    mkdirSync(join(root, "folder"))
    const paths = [
      "/../secret.txt",
      "/%2e%2e/secret.txt",
      "/a/../../x",
      "/a%2f..%2f..%2fx",
      "/a%00b",
      "/a%2fb",
      "/a//b",
      "//etc/passwd",
    ]
    for (const path of [...paths, "/%ff", "/./x", "/a%5c..%5cx"])
      for (const method of ["GET", "PUT", "DELETE"])
        assert.equal(await raw(app, key, method, path), 400, `${method} ${path}`)
    for (const path of ["/fifo", "/abroad", "/up/secret.txt", "/device"])
      for (const method of ["GET", "PUT"]) {
        const answer = await call(method, path, method === "PUT" ? { body: "x" } : {})
        assert.equal(answer.status, 400, `${method} ${path}: ${answer.text}`)
        assert.ok(!answer.text.includes("outside") && !answer.text.includes("root:"))
      }
    assert.equal((await call("GET", "/home")).text, "inside")
    assert.equal((await call("PUT", "/folder", { body: "x" })).status, 409)
    assert.equal((await call("PUT", "/inside.txt/x", { body: "x" })).status, 409)
    assert.equal((await call("PUT", `/${"n".repeat(256)}`, { body: "x" })).status, 400)
    const types = (await call("GET", "/")).body.entries.map(
      (e: { name: string; type: string }) => `${e.name} ${e.type}`,
    )
    assert.ok(types.includes("fifo other") && types.includes("abroad symlink"))
  })

  test("a file over 25 MiB is refused however it is sent, and nothing of it stays", async () => {
    const db = await open()
    await using app = await startApp(db)
    const { key, call } = await withAgent(app)
    const large = Buffer.alloc(MAX_FILE_BYTES + 1, 1)
    assert.equal((await call("PUT", "/large", { body: large })).status, 413)
    const chunked = await fetch(`${app.url}/api/v1${AT}/large`, {
      method: "PUT",
      headers: { "X-API-Key": key },
      body: new Blob([large]).stream(),
      duplex: "half",
    }).then(
      (response) => response.status,
      () => 413,
    )
    assert.equal(chunked, 413)
    assert.equal((await call("GET", "/large")).status, 404)
    assert.deepEqual((await call("GET", "/")).body.entries, [])
    const most = await call("PUT", "/most", { body: large.subarray(1) })
    assert.deepEqual([most.status, most.body.size], [201, MAX_FILE_BYTES])
    assert.equal((await call("PUT", "/empty", { body: "" })).body.size, 0)
  })

  test("of uploads at once that do not all fit the plan, those that fit are stored and the others refused", async () => {
    const db = await open()
    const plansFile = join(mkdtempSync(join(tmpdir(), "autonomis-plans-")), "plans.json")
    const plans = BUILT_IN_PLANS.plans.map(({ tier, limits }) => ({
      tier,
      limits: { ...limits, storage_bytes: 1_250_000 },
    }))
    writeFileSync(plansFile, JSON.stringify({ plans, default: "pro" }))
    await using app = await startApp(db, { env: { AUTONOMIS_PLANS_FILE: plansFile } })
    const { call } = await withAgent(app)
    const part = Buffer.alloc(100_000, 1)
    const answers = await Promise.all(Array.from({ length: 40 }, (_, i) => call("PUT", `/f${i}`, { body: part })))
    const stored = answers.filter((answer) => answer.status === 201)
    assert.equal(stored.length, 12)
    for (const answer of answers.filter((one) => one.status !== 201))
      assert.deepEqual([answer.status, answer.body.code, answer.body.limit], [403, "plan_limit", "storage_bytes"])
    const { path } = stored[0]?.body ?? assert.fail()
    assert.equal((await call("PUT", `/${path}`, { body: part })).status, 200)
    assert.equal((await call("DELETE", `/${path}`)).status, 204)
    assert.equal((await call("PUT", "/again", { body: part })).status, 201)
    rmSync(dirname(plansFile), { recursive: true })
  })

  test("MEMORY.md is kept for prompts as it is written and removed", async () => {
    const db = await open()
    await using app = await startApp(db)
    const { call } = await withAgent(app)
    const memory = async () => (await db.read.selectFrom("agents").select("memory").executeTakeFirstOrThrow()).memory
    await call("PUT", "/MEMORY.md", { body: "I like tea.\0" })
    assert.equal(await memory(), "I like tea.")
    await call("PUT", "/MEMORY.md", { body: `${"x".repeat(65_535)}é and more` })
    assert.equal(await memory(), "x".repeat(65_535))
    await call("PUT", "/other/MEMORY.md", { body: "not this" })
    assert.equal((await memory()).length, 65_535)
    await call("DELETE", "/MEMORY.md")
    assert.equal(await memory(), "")
  })

  test("another tenant's files answer as if there were none, and an agent's key opens no files", async () => {
    const db = await open()
    await using app = await startApp(db)
    const { agentKey, call } = await withAgent(app)
    await call("PUT", "/f.txt", { body: "private" })
    const bob = (await app.call("POST", "/users", { body: { user: "bob" } })).body.api_key
    for (const method of ["GET", "PUT", "DELETE"]) {
      const answer = await call(method, "/f.txt", { key: bob, ...(method === "PUT" ? { body: "mine" } : {}) })
      assert.deepEqual([answer.status, answer.text], [404, '{"error":"user not found"}'])
      assert.equal((await call(method, "/f.txt", { key: agentKey })).status, 403)
      assert.equal((await call(method, "/f.txt", { key: null })).status, 401)
    }
    assert.equal((await call("GET", "/f.txt")).text, "private")
  })
})
