import assert from "node:assert/strict"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { gzipSync } from "node:zlib"
import { ENDPOINTS } from "@autonomis/contract/endpoints.ts"
import { sql } from "kysely"
import { startApp, type TestApp } from "../app.ts"
import { forEachDatabase } from "../databases.ts"
import { startOpenAiDouble } from "../doubles/openai.ts"
import { until } from "../until.ts"
import { type Cast, exampleOf, expectOk, newCast } from "./cast.ts"

const says = (content: string, more: object = {}) => ({ messages: [{ role: "user", content }], ...more })
const chat = (app: TestApp, { path, user }: Cast, text: string, more: object = {}) =>
  expectOk(app.call("POST", `${path}/agents/manager/chat`, { key: user.key, body: says(text, more) }))

/** Everything that a tenant's keys can read, without what only says when and for whom it was asked. */
async function allThatIsSeen(app: TestApp, cast: Cast): Promise<Record<string, unknown>> {
  const seen: Record<string, unknown> = {}
  for (const endpoint of ENDPOINTS) {
    if (endpoint.method !== "GET" || ["platform", "owner-admin"].includes(endpoint.access)) continue
    // What asks the registry, and what makes something at each look.
    if (["skills.search", "agents.connect"].includes(endpoint.id)) continue
    const { path, ...rest } = await exampleOf(endpoint, cast, true)
    const { status, headers, text } = await app.call("GET", path, { key: cast.user.key, ...rest })
    const changing = /"(latency_ms|checked_at)":("[^"]*"|[\d.e-]+)/g
    const kept = [...headers].filter(([name]) => !["x-request-id", "date", "etag", "content-length"].includes(name))
    seen[endpoint.id] = [status, kept, text.replace(changing, "")]
  }
  return seen
}

forEachDatabase((name, open) => {
  test("what another tenant does changes no count, header or answer that I see", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const [mine, theirs] = [await newCast(app), await newCast(app)]
    await chat(app, mine, '/tool write {"path":"a.txt","content":"x"}', { session: "s" })
    const settled = async () => JSON.stringify(await allThatIsSeen(app, mine))
    // My own last lines are still on their way into the log.
    let before = await settled()
    await until(async () => {
      const last = before
      before = await settled()
      return before === last
    }, "nothing of my own to change any more")
    for (let i = 0; i < 3; i++)
      await chat(app, theirs, '/tool write {"path":"b.txt","content":"y"}', { session: `t${i}` })
    await expectOk(
      app.call("PUT", `${theirs.path}/secrets`, { key: theirs.user.key, body: { secrets: { A: "value" } } }),
    )
    await expectOk(app.call("POST", `${theirs.path}/agents`, { key: theirs.user.key, body: { name: "third" } }))
    await app.call("GET", `${theirs.path}/nothing`, { key: theirs.user.key })
    await expectOk(app.call("DELETE", theirs.path))
    assert.equal(await settled(), before)
  })

  test("a stream ends with its key, however that dies and whatever it streams", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const deaths: Record<string, (cast: Cast) => Promise<unknown>> = {
      "its user's key is rotated": ({ path }) => app.call("POST", `${path}/rotate-key`),
      "its user is suspended": ({ path }) => app.call("PUT", `${path}/state`, { body: { state: "suspended" } }),
      "its user is deleted": ({ path }) => app.call("DELETE", path),
      "its agent's key is rotated": ({ path }) => app.call("POST", `${path}/agents/manager/rotate-key`),
      "its agent is deleted": ({ path }) => app.call("DELETE", `${path}/agents/manager`),
    }
    for (const [death, kill] of Object.entries(deaths)) {
      const cast = await newCast(app)
      const { path, user, agents } = cast
      const M = `/api/v1${path}/agents/manager`
      const body = says('/tool bash {"command":"sleep 100"}')
      const { run_id } = (await chat(app, cast, '/tool bash {"command":"sleep 100"}', { background: true })).body
      const connect = await app.call("GET", `${path}/agents/manager/connect`, { key: agents.manager })
      const ofAgent: [string, (object | undefined)?, string?][] = [
        [`${M}/chat/stream`, { ...body, resume_seconds: 300 }],
        [`${M}/runs/${run_id}/stream`],
        [`/gateway/${user.name}/manager/v1/chat/completions`, { ...body, stream: true }],
        [`/gateway/${user.name}/manager/v1/chat/completions`, { ...body, stream: true }, connect.body.token],
      ]
      const ofUser: typeof ofAgent = [
        [`/api/v1${path}/logs?follow=true`, undefined, user.key],
        [`${M}/runs/${run_id}/stream`, undefined, user.key],
        [`${M}/chat/stream`, { ...body, resume_seconds: 300 }, user.key],
      ]
      const streams = [
        ...(death.startsWith("its user's key") ? [] : ofAgent),
        ...(death.startsWith("its user") ? ofUser : []),
      ]
      const open = await Promise.all(
        streams.map(async ([at, sent, key = agents.manager]) => {
          const response = await fetch(app.url + at, {
            method: sent === undefined ? "GET" : "POST",
            headers: { "X-API-Key": key, "Content-Type": "application/json" },
            body: sent === undefined ? null : JSON.stringify(sent),
          })
          assert.equal(response.status, 200, at)
          return { at, rest: response.text().catch(() => "") }
        }),
      )
      await kill(cast)
      const ended = new Set<string>()
      for (const [i, { at, rest }] of open.entries()) void rest.then(() => ended.add(`${i} ${at}`))
      const all = open.map(({ at }, i) => `${i} ${at}`)
      await until(() => all.every((one) => ended.has(one)), `the streams to end when ${death}`)
      await app.call("DELETE", path)
    }
  })

  test("whoever adds to a list while it is read cannot make it go on for ever", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const cast = await newCast(app)
    const { path, user } = cast
    for (let i = 0; i < 5; i++) await chat(app, cast, "hello", { session: `s${i}` })
    let made = 0
    const more = async () => {
      await chat(app, cast, "hello", { session: `new-${++made}` })
      await expectOk(app.call("PATCH", `${path}/agents/writer`, { key: user.key, body: { description: `${made}` } }))
    }
    for (const [list, key] of [
      ["/audit", app.adminKey],
      [`${path}/audit`, user.key],
      [`${path}/agents/manager/sessions`, user.key],
      ["/users", app.adminKey],
    ] as const) {
      const cursors = new Set<string>()
      let cursor: string | null = null
      do {
        const at = cursor === null ? list : `${list}?cursor=${encodeURIComponent(cursor)}`
        const { body } = await expectOk(app.call("GET", `${at}${at.includes("?") ? "&" : "?"}limit=2`, { key }))
        cursor = body.next_cursor
        assert.ok(cursor === null || !cursors.has(cursor), `${list} goes round`)
        if (cursor !== null) cursors.add(cursor)
        if (cursors.size < 30) await more()
        assert.ok(cursors.size < 60, `${list} goes on`)
      } while (cursor !== null)
    }
  })

  test("no run over the budget reaches the provider, by whatever way it comes", async () => {
    await using provider = await startOpenAiDouble()
    await using db = await open()
    const platform = { OPENAI_API_KEY: "key-12345678", OPENAI_BASE_URL: `${provider.url}/v1` }
    await using app = await startApp(db, { env: { ...platform, AUTONOMIS_DEFAULT_MODEL: "openai/gpt-5.4" } })
    for (const limits of [{ tokens_per_month: 0 }, { usd_per_day: 0.0000001 }, { usd_per_month: 0 }]) {
      const { path, user, agents } = await newCast(app)
      await expectOk(app.call("PUT", `${path}/limits`, { body: limits }))
      const M = `${path}/agents/manager`
      const refused = (answer: { status: number; body: { code?: string; error: { code?: string } } }) =>
        assert.deepEqual([answer.status, answer.body.code ?? answer.body.error.code], [429, "budget_exhausted"])
      refused(await app.call("POST", `${M}/chat`, { key: user.key, body: says("x") }))
      refused(await app.call("POST", `${M}/chat`, { key: user.key, body: says("x", { session: "s" }) }))
      refused(await app.call("POST", `${path}/models/test`, { key: user.key, body: { model: "openai/gpt-5.4" } }))
      for (const stream of [false, true]) {
        const at = `//gateway/${user.name}/manager/v1/chat/completions`
        refused(await app.call("POST", at, { key: agents.manager, body: { ...says("x"), stream } }))
      }
      const streamed = await app.call("POST", `${M}/chat/stream`, { key: user.key, body: says("x") })
      assert.match(streamed.text, /event: error\ndata: .*"code":"budget_exhausted"/)
      const { body } = await app.call("POST", `${M}/chat`, { key: user.key, body: says("x", { background: true }) })
      const run = await until(async () => {
        const now = await app.call("GET", `${M}/runs/${body.run_id}`, { key: user.key })
        return now.body.finished_at === null ? null : now.body
      }, "the run in the background to end")
      assert.deepEqual([run.state, run.error.code], ["failed", "budget_exhausted"])
    }
    assert.equal(provider.requests.length, 0)
  })

  test("a secret's value is nowhere to be read: no answer, no log, no file, no table", async () => {
    await using db = await open()
    const lines: string[] = []
    await using app = await startApp(db, { accessLog: (text) => lines.push(text) })
    const cast = await newCast(app)
    const { path, user } = cast
    const value = "Very+Secret/Value 0123456789"
    const forms = [value, ...(["base64", "base64url", "hex"] as const).map((as) => Buffer.from(value).toString(as))]
    const body = { secrets: { MY_TOKEN: value } }
    await expectOk(app.call("PUT", `${path}/secrets`, { key: user.key, body, headers: { "Idempotency-Key": "one" } }))
    const twice = { name: "third", secrets: { OTHER: value } }
    for (let i = 0; i < 2; i++)
      await expectOk(
        app.call("POST", `${path}/agents`, { key: user.key, body: twice, headers: { "Idempotency-Key": "two" } }),
      )
    for (const bad of [{ secrets: { "BAD KEY": value } }, { secrets: [{ key: "X", value, agents: ["nobody"] }] }])
      assert.equal((await app.call("PUT", `${path}/secrets`, { key: user.key, body: bad })).status, 400)
    await chat(app, cast, '/tool bash {"command":"echo $MY_TOKEN; echo -n \\"$MY_TOKEN\\" | base64; env"}', {
      session: "s",
    })
    const read: string[] = [JSON.stringify(await allThatIsSeen(app, cast))]
    for (const at of [`${path}/agents/manager/sessions/s`, `${path}/logs?tail=1000`, `${path}/audit`])
      read.push((await app.call("GET", at, { key: user.key })).text)
    for (const at of ["/logs", "/audit", "/status", path]) read.push((await app.call("GET", at)).text)
    assert.match(read.join(), /\[secret MY_TOKEN\]/)
    const tables = await db.kysely.introspection.getTables()
    for (const table of tables) {
      const { rows } = await sql`select * from ${sql.table(table.name)}`.execute(db.kysely)
      read.push(
        JSON.stringify(rows, (_, cell) => (cell instanceof Uint8Array ? Buffer.from(cell).toString("latin1") : cell)),
      )
    }
    for (const entry of readdirSync(app.dataDir, { recursive: true, withFileTypes: true }))
      if (entry.isFile()) read.push(readFileSync(join(entry.parentPath, entry.name), "latin1"))
    read.push(lines.join(""), app.complaints.join(""))
    for (const text of read)
      for (const form of forms)
        assert.ok(!text.includes(form), `${form} in …${text.slice(Math.max(0, text.indexOf(form) - 200))}`)
  })

  test("a packed body is refused, not kept as what it is not", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const { path, user } = await newCast(app)
    const packed = (type: string) => ({
      key: user.key,
      body: gzipSync('{"description":"x"}'),
      headers: { "Content-Type": type, "Content-Encoding": "gzip" },
    })
    const M = `${path}/agents/manager`
    const answers = [
      await app.call("PATCH", M, packed("application/json")),
      await app.call("PUT", `${M}/files/a.json`, packed("application/json")),
      await app.call("PUT", `${path}/skills/greeter/file`, packed("text/markdown")),
    ]
    for (const { status, body } of answers)
      assert.deepEqual([status, body.code], [415, "unsupported_media_type"], JSON.stringify(body))
    assert.equal((await app.call("GET", `${M}/files/a.json`, { key: user.key })).status, 404)
    const plain = { body: { description: "x" }, headers: { "Content-Encoding": "identity" } }
    assert.equal((await app.call("PATCH", M, { key: user.key, ...plain })).status, 200)
  })

  test(`what comes in breaks no line of a log and no header (${name})`, async () => {
    await using db = await open()
    const lines: string[] = []
    await using app = await startApp(db, { accessLog: (text) => lines.push(text), manyAddresses: true })
    const { path, user } = await newCast(app)
    const evil = 'x\r\nX-Evil: 1\r\n\r\n{"level":"error"}\u2028\u001b[31m\u0085'
    const M = `${path}/agents/manager`
    const put = { key: user.key, body: { description: evil } }
    await expectOk(app.call("PATCH", M, put))
    await expectOk(
      app.call("PUT", `${M}/files/${encodeURIComponent(evil.replaceAll("/", ""))}`, { key: user.key, body: "x" }),
    )
    const command = JSON.stringify({ command: `printf '%s' '${evil}'` })
    await expectOk(app.call("POST", `${M}/chat`, { key: user.key, body: says(`/tool bash ${command}`) }))
    const answers = [
      await app.call("GET", `${M}/files/${encodeURIComponent(evil.replaceAll("/", ""))}`, { key: user.key }),
      await app.call("GET", `/users/${encodeURIComponent(evil)}`, { key: user.key }),
      await app.call("GET", `${path}/logs?agent=${encodeURIComponent(evil)}`, { key: user.key }),
      await app.call("POST", `${M}/chat`, { key: user.key, body: says("x", { model: `openai/${evil}` }) }),
      await app.call("POST", `${M}/chat`, { key: user.key, body: { [evil]: 1 } }),
      await app.call("GET", M, { key: user.key, headers: { "X-Forwarded-For": '"\\\t<x>' } }),
    ]
    for (const { headers } of answers) assert.equal(headers.get("x-evil"), null)
    const shown = await until(async () => {
      const { text } = await app.call("GET", `${path}/logs`, { key: user.key, headers: { Accept: "text/plain" } })
      return text.includes("X-Evil") ? text : null
    }, "the command's output in the log")
    assert.match(
      shown,
      /^(\d{4}-\S+Z [A-Z]+ +(sandbox|agent|platform)( [a-z0-9-]+)?: [^\u0000-\u001f\u007f-\u009f\u2028\u2029]*\n)+$/,
    )
    await until(() => lines.join("").includes("/files/"), "the requests' lines")
    for (const line of lines
      .join("")
      .split("\n")
      .filter((text) => text !== "")) {
      assert.doesNotThrow(() => JSON.parse(line), line)
      assert.notEqual(JSON.parse(line).level, "error")
    }
    for (const line of app.complaints
      .join("\n")
      .split("\n")
      .filter((text) => text !== ""))
      JSON.parse(line)
  })
})
