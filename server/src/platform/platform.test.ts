import assert from "node:assert/strict"
import { test } from "node:test"
import { startApp, type TestApp } from "../../../test/app.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import { until } from "../../../test/until.ts"
import { jsonLogger } from "../lib/log.ts"

const HOUR_MS = 3600_000

async function ada(app: TestApp): Promise<string> {
  const { body } = await app.call("POST", "/users", { body: { user: "ada", tier: "enterprise" } })
  await app.call("POST", "/users/ada/agents", { body: { agents: [{ name: "manager" }, { name: "writer" }] } })
  return body.api_key
}

/** Signs in as a browser would, and calls with the cookie alone. */
async function signIn(app: TestApp, body: object) {
  const answer = await app.call("POST", "/session", { key: null, body })
  const set = answer.headers.get("set-cookie") ?? ""
  return { answer, set, ...withCookie(app, set) }
}
function withCookie(app: TestApp, set: string) {
  const Cookie = set.split(";")[0] ?? ""
  const call = (method: string, path: string, more: { body?: unknown } = {}) =>
    app.call(method, path, { key: null, headers: { Cookie, Origin: app.url }, ...more })
  return { Cookie, call }
}

type Jar = ReturnType<typeof cookieJar>

/** Keeps cookies as a browser does, and sends them with an `Origin` of its own. */
function cookieJar(app: TestApp, cookies: Map<string, string> = new Map()) {
  return {
    cookies,
    copy: () => cookieJar(app, new Map(cookies)),
    async call(method: string, path: string, body?: unknown, more: Record<string, string> = {}) {
      const Cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ")
      const headers = { Origin: app.url, ...(Cookie ? { Cookie } : {}), ...more }
      const answer = await app.call(method, path, { key: null, headers, body })
      for (const line of answer.headers.getSetCookie()) {
        const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? []
        if (/Max-Age=0/.test(line)) cookies.delete(name)
        else cookies.set(name, value)
      }
      return answer
    },
  }
}

test("a line of the server's own log is one line of JSON, whatever is in it", () => {
  const lines: string[] = []
  const log = jsonLogger(
    (line) => lines.push(line),
    () => 0,
  )
  const nasty = 'a\nb"\u001b[2J\u009b1m\u2028\u007f'
  log.error(nasty, { path: nasty, error: new Error(nasty) })
  assert.equal(lines.length, 1)
  assert.match(lines[0] ?? "", /^[\x20-\x7e]+\n$/)
  assert.equal(JSON.parse(lines[0] ?? "").path, nasty)
})

forEachDatabase((_name, open) => {
  test("every answer's request id is found once in the log, and nothing of a query or a key", async () => {
    await using db = await open()
    let log = ""
    await using app = await startApp(db, {
      accessLog: (lines) => {
        log += lines
      },
    })
    await app.call("POST", "/users", { body: { user: "ada" } })
    await app.call("POST", "/users/ada/agents", { body: { name: "manager" } })
    const chat = { body: { messages: [{ role: "user", content: "hello" }] }, headers: { Accept: "text/event-stream" } }
    const once = { body: { user: "bob" }, headers: { "Idempotency-Key": "once" } }
    const tag = (await app.call("GET", "/users/ada")).headers.get("etag") ?? ""
    const answers = [
      await app.call("GET", "/users?q=private-thing"),
      await app.call("POST", "/users", once),
      await app.call("POST", "/users", once),
      await app.call("GET", "/users/ada", { headers: { "If-None-Match": tag } }),
      await app.call("POST", "/users/ada/agents/manager/chat", chat),
      await app.call("POST", "/users", { body: { user: "no such name!" } }),
      await app.call("POST", "/users", { body: { user: "ada" } }),
      await app.call("PATCH", "/users"),
      await app.call("OPTIONS", "/users"),
      await app.call("GET", "/users/ada/nothing"),
      await app.call("GET", "/users", { key: "atn_user_secret" }),
      await app.call("POST", "//%zz\u009b", { key: null }),
      await app.call("GET", "//health", { key: null }),
    ]
    for (const { headers, status } of answers) {
      const id = headers.get("x-request-id") ?? "?"
      await until(() => log.includes(id), `${id} to be in the log`)
      const line = JSON.parse(log.split("\n").find((one) => one.includes(id)) ?? "")
      assert.deepEqual([line.status, line.message], [status, "request"])
      assert.equal(log.split(id).length, 2, `${id} to be there once`)
    }
    assert.doesNotMatch(log, /private-thing|secret|[^\x20-\x7e\n]/)
    assert.ok(!log.includes(app.adminKey))
  })

  test("signing in with a key of any kind gives a cookie that counts as the key and dies with it", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const key = await ada(app)
    const first = await signIn(app, { api_key: key })
    assert.equal(first.answer.status, 204)
    assert.match(first.set, /^autonomis=atn_cookie_\w+; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Strict$/)
    assert.ok(!first.set.includes(key))
    assert.deepEqual((await first.call("GET", "/me")).body, {
      kind: "user",
      user: "ada",
      agent: null,
      impersonated_by: null,
    })
    assert.equal((await first.call("PUT", "/users/ada/secrets", { body: { secrets: { A: "12345678" } } })).status, 200)
    const foreign = { headers: { Cookie: first.Cookie, Origin: "https://evil.example" }, key: null }
    assert.equal((await app.call("DELETE", "/users/ada/secrets/A", foreign)).status, 403)

    const admin = await signIn(app, { api_key: app.adminKey })
    assert.equal((await admin.call("GET", "/me")).body.kind, "admin")
    assert.equal((await admin.call("GET", "/status")).status, 200)

    await app.call("POST", "/users/ada/rotate-key", { key })
    assert.equal((await first.call("GET", "/me")).status, 401)
    assert.equal((await admin.call("GET", "/me")).status, 200)
  })

  test("a sign-in opens no further one, which could outlive the key", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const key = await ada(app)
    const tokenIn = (set: string) => /^autonomis=([^;]*)/.exec(set)?.[1]
    let last: string | undefined = key
    for (let i = 0; i < 6 && last !== undefined; i++) {
      const { answer, set } = await signIn(app, { api_key: last })
      assert.equal(answer.status, i === 0 ? 204 : 401)
      last = tokenIn(set)
    }
    const looking = (await app.call("POST", "/users/ada/impersonate")).headers.getSetCookie()[0] ?? ""
    assert.equal((await signIn(app, { api_key: tokenIn(looking) })).answer.status, 401)
  })

  test("a bad key or token signs nobody in, and many of them are held up", async () => {
    await using db = await open()
    await using app = await startApp(db)
    for (const body of [{ api_key: "x" }, { token: "x" }, { api_key: "" }]) {
      const { answer, set } = await signIn(app, body)
      assert.deepEqual([answer.status, answer.body, set], [401, { error: "missing or invalid API key" }, ""])
    }
    for (const body of [{}, { api_key: 1 }, { api_key: "x", token: "y" }])
      assert.equal((await signIn(app, body)).answer.status, 400)
    assert.equal((await signIn(app, { api_key: "x".repeat(20_000) })).answer.status, 413)
    for (let i = 0; i < 100; i++) await signIn(app, { api_key: `x${i}` })
    const { answer } = await signIn(app, { api_key: "x" })
    assert.equal(answer.status, 429)
    assert.equal((await signIn(app, { api_key: app.adminKey })).answer.status, 204)
  })

  test("signing out ends this sign-in, or all of the account; a key in a header stays", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const key = await ada(app)
    const [a, b, c] = [
      await signIn(app, { api_key: key }),
      await signIn(app, { api_key: key }),
      await signIn(app, { api_key: key }),
    ]
    const out = await a.call("DELETE", "/session")
    assert.equal(out.status, 204)
    assert.match(out.headers.get("set-cookie") ?? "", /^autonomis=; .*Max-Age=0/)
    assert.deepEqual([(await a.call("GET", "/me")).status, (await b.call("GET", "/me")).status], [401, 200])
    await app.call("DELETE", "/session", { key })
    assert.equal((await b.call("GET", "/me")).status, 200)
    await b.call("DELETE", "/session?all=true")
    assert.deepEqual([(await b.call("GET", "/me")).status, (await c.call("GET", "/me")).status], [401, 401])
    assert.equal((await app.call("GET", "/me", { key })).status, 200)
  })

  test("a sign-in link opens the dashboard once, within ten minutes", async () => {
    await using db = await open()
    let aheadMs = 0
    await using app = await startApp(db, { clock: { now: () => Date.now() + aheadMs } })
    await ada(app)
    const make = async () => (await app.call("POST", "/users/ada/sign-in-link")).body
    const { url, expires_at } = await make()
    assert.ok(url.startsWith(`${app.url}/#token=`))
    assert.ok(Math.abs(Date.parse(expires_at) - Date.now() - 600_000) < 60_000)
    const token = url.split("#token=")[1]
    assert.equal((await app.call("GET", "/me", { key: token })).status, 401)
    const first = await signIn(app, { token })
    assert.equal((await first.call("GET", "/me")).body.user, "ada")
    assert.equal((await signIn(app, { token })).answer.status, 401)
    const late = (await make()).url.split("#token=")[1]
    aheadMs = 601_000
    assert.equal((await signIn(app, { token: late })).answer.status, 401)
  })

  test("what a sign-in link opened ends when the account's key is rotated, as if it had been opened with that", async () => {
    await using db = await open()
    let aheadMs = 0
    await using app = await startApp(db, { clock: { now: () => Date.now() + aheadMs } })
    await ada(app)
    const enter = async () => {
      const token = (await app.call("POST", "/users/ada/sign-in-link")).body.url.split("#token=")[1]
      return await signIn(app, { token })
    }
    const status = async (one: { call(method: string, path: string): Promise<{ status: number }> }) =>
      (await one.call("GET", "/me")).status
    const first = await enter()
    const unused = (await app.call("POST", "/users/ada/sign-in-link")).body.url.split("#token=")[1]
    assert.equal(await status(first), 200)
    await app.call("POST", "/users/ada/rotate-key", { body: { grace_seconds: 60 } })
    const second = await enter()
    assert.deepEqual([await status(first), await status(second)], [200, 200])
    aheadMs = 61_000
    assert.deepEqual([await status(first), await status(second)], [401, 200])
    await app.call("POST", "/users/ada/rotate-key")
    assert.equal(await status(second), 401)
    // It was made by the administrator, whose key still stands.
    assert.equal(await status(await signIn(app, { token: unused })), 200)
  })

  test("an administrator looks at an account as its user for an hour, and the audit says so", async () => {
    await using db = await open()
    let aheadMs = 0
    await using app = await startApp(db, { clock: { now: () => Date.now() + aheadMs } })
    const key = await ada(app)
    const owner = await signIn(app, { api_key: key })
    const { headers, status } = await app.call("POST", "/users/ada/impersonate")
    assert.equal(status, 204)
    const looking = withCookie(app, headers.get("set-cookie") ?? "")
    assert.deepEqual((await looking.call("GET", "/me")).body, {
      kind: "user",
      user: "ada",
      agent: null,
      impersonated_by: "admin",
    })
    assert.equal((await looking.call("GET", "/status")).status, 403)
    await looking.call("PUT", "/users/ada/secrets", { body: { secrets: { B: "12345678" } } })
    const { entries } = (await app.call("GET", "/users/ada/audit", { key })).body
    assert.equal(entries[0].actor, "admin as user:ada")
    assert.ok(
      entries.some((e: { action: string; actor: string }) => e.action === "users.impersonate" && e.actor === "admin"),
    )
    // It cannot sign the owner out, and ends by itself.
    await looking.call("DELETE", "/session?all=true")
    assert.equal((await owner.call("GET", "/me")).status, 200)
    const again = withCookie(app, (await app.call("POST", "/users/ada/impersonate")).headers.get("set-cookie") ?? "")
    assert.equal((await again.call("GET", "/me")).status, 200)
    aheadMs = HOUR_MS + 1000
    assert.equal((await again.call("GET", "/me")).status, 401)
  })

  test("an administrator who looks at an account comes back signed in as before, also after the hour", async () => {
    await using db = await open()
    let aheadMs = 0
    await using app = await startApp(db, { clock: { now: () => Date.now() + aheadMs } })
    const key = await ada(app)
    const jar = () => cookieJar(app)
    const admin = jar()
    await admin.call("POST", "/session", { api_key: app.adminKey })
    const elsewhere = jar()
    await elsewhere.call("POST", "/session", { api_key: app.adminKey })
    const who = async (of: Jar) => {
      const { status, body } = await of.call("GET", "/me")
      return status === 200 ? (body.impersonated_by ?? "") + body.kind : status
    }
    const back = { return: true }

    const { headers } = await admin.call("POST", "/users/ada/impersonate")
    assert.equal(headers.getSetCookie().length, 2)
    for (const cookie of headers.getSetCookie()) assert.match(cookie, /HttpOnly; SameSite=Strict$/)
    assert.equal(await who(admin), "adminuser")
    const looking = admin.copy()
    // Not from another site's page, and not by a cookie that is no administrator's.
    const foreign = await admin.call("POST", "/session", back, { Origin: "https://evil.example" })
    assert.deepEqual([foreign.status, await who(admin)], [403, "adminuser"])
    assert.equal((await jar().call("POST", "/session", back)).status, 401)
    const thief = jar()
    await thief.call("POST", "/session", { api_key: key })
    thief.cookies.set("autonomis-admin", thief.cookies.get("autonomis") ?? "")
    assert.equal((await thief.call("POST", "/session", back)).status, 401)
    // What was set aside opens nothing by itself.
    const kept = admin.copy()
    kept.cookies.delete("autonomis")
    assert.equal(await who(kept), 401)

    assert.equal((await admin.call("POST", "/session", back)).status, 204)
    assert.equal(await who(admin), "admin")
    assert.deepEqual([...admin.cookies.keys()], ["autonomis"])
    assert.equal(await who(looking), 401, "the looking has ended, wherever its cookie is")
    const { entries } = (await app.call("GET", "/users/ada/audit", { key })).body
    assert.deepEqual([entries[0].action, entries[0].actor], ["session.return", "admin"])

    await admin.call("POST", "/users/ada/impersonate")
    aheadMs = HOUR_MS + 1000
    admin.cookies.delete("autonomis")
    assert.equal((await admin.call("POST", "/session", back)).status, 204)
    assert.equal(await who(admin), "admin")

    // A user who was suspended meanwhile holds nobody.
    await admin.call("POST", "/users/ada/impersonate")
    await app.call("PUT", "/users/ada/state", { body: { state: "suspended" } })
    assert.equal(await who(admin), 403)
    await admin.call("POST", "/session", back)
    assert.equal(await who(admin), "admin")
    await app.call("PUT", "/users/ada/state", { body: { state: "active" } })

    // Signing out in the account leaves no administrator behind in this browser; everywhere is everywhere.
    await admin.call("POST", "/users/ada/impersonate")
    const left = admin.copy()
    await admin.call("DELETE", "/session")
    assert.deepEqual([...admin.cookies.keys()], [])
    assert.equal((await left.call("POST", "/session", back)).status, 401)
    assert.equal(await who(elsewhere), "admin")
    const third = jar()
    await third.call("POST", "/session", { api_key: app.adminKey })
    await third.call("POST", "/users/ada/impersonate")
    const ended = third.copy()
    await elsewhere.call("DELETE", "/session?all=true")
    assert.equal(await who(third), 401)
    assert.equal((await ended.call("POST", "/session", back)).status, 401)

    // Whoever signs in afterwards does not find it.
    const shared = jar()
    await shared.call("POST", "/session", { api_key: app.adminKey })
    await shared.call("POST", "/users/ada/impersonate")
    await shared.call("POST", "/session", { api_key: key })
    assert.deepEqual([...shared.cookies.keys()], ["autonomis"])
    const [fourth, witness] = [jar(), jar()]
    for (const one of [fourth, witness]) await one.call("POST", "/session", { api_key: app.adminKey })
    await fourth.call("POST", "/users/ada/impersonate")
    await fourth.call("DELETE", "/session?all=true")
    assert.equal(await who(witness), 401)
    assert.equal((await app.call("GET", "/me", { key })).status, 200)
  })

  test("under https the cookie is Secure and bound to this host", async () => {
    await using db = await open()
    await using app = await startApp(db, { env: { AUTONOMIS_PUBLIC_URL: "https://agents.example" } })
    const { set } = await signIn(app, { api_key: app.adminKey })
    assert.match(set, /^__Host-autonomis=\S+; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Strict; Secure$/)
    const headers = { Cookie: set.split(";")[0] ?? "", Origin: "https://agents.example" }
    assert.equal((await app.call("PUT", "/pause", { key: null, headers, body: { paused: false } })).status, 200)
  })

  test("paused, no new run is taken, also after a restart; the rest goes on", async () => {
    await using db = await open()
    const adminKey = "an-administrator's-own-key"
    const chat = { body: { messages: [{ role: "user", content: "hi" }] } }
    {
      await using app = await startApp(db, { adminKey })
      await ada(app)
      assert.deepEqual((await app.call("PUT", "/pause", { body: { paused: true } })).body, { paused: true })
      const refused = await app.call("POST", "/users/ada/agents/manager/chat", chat)
      assert.ok(refused.status >= 400, `${refused.status}`)
      assert.equal((await app.call("GET", "/users/ada")).status, 200)
    }
    await using app = await startApp(db, { adminKey })
    assert.equal((await app.call("GET", "/status")).body.paused, true)
    assert.ok((await app.call("POST", "/users/ada/agents/manager/chat", chat)).status >= 400)
    await app.call("PUT", "/pause", { body: { paused: false } })
    assert.equal((await app.call("POST", "/users/ada/agents/manager/chat", chat)).status, 200)
    const { entries } = (await app.call("GET", "/audit?limit=2")).body
    assert.equal(entries[0].action, "platform.resume")
  })

  test("the audit lists each change once, page by page, the newest first, and only one's own", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const key = await ada(app)
    await app.call("POST", "/users", { body: { user: "bob" } })
    for (let i = 0; i < 7; i++)
      await app.call("PUT", "/users/ada/secrets", { key, body: { secrets: { [`K${i}`]: "12345678" } } })
    await app.call("PUT", "/users/ada/secrets", { key, body: { secrets: { "not-a-key": "x" } } })
    const seen: { time: string; actor: string; target: string; request_id: string; ip: string }[] = []
    let cursor: string | null = null
    do {
      const { body } = await app.call("GET", `/users/ada/audit?limit=3${cursor ? `&cursor=${cursor}` : ""}`, { key })
      seen.push(...body.entries)
      cursor = body.next_cursor
      // What comes in between does not shift the pages.
      await app.call("PATCH", "/users/ada/agents/writer", { key, body: { description: `${seen.length}` } })
    } while (cursor !== null)
    assert.equal(new Set(seen.map((e) => `${e.request_id} ${e.target}`)).size, seen.length)
    assert.deepEqual(
      seen.map((e) => e.time),
      seen
        .map((e) => e.time)
        .toSorted()
        .reverse(),
    )
    assert.equal(seen.filter((e) => e.target.startsWith("secret")).length, 7, JSON.stringify(seen))
    assert.ok(seen.every((e) => !e.target.includes("bob") && e.ip === "127.0.0.1" && e.request_id.startsWith("req_")))
    const all = (await app.call("GET", "/audit?limit=200")).body.entries
    assert.ok(all.some((e: { target: string }) => e.target === "user:bob"))
  })

  test("logs: what the platform and the agents wrote, in JSON, as lines, and as it comes", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const key = await ada(app)
    const chat = (text: string) =>
      app.call("POST", "/users/ada/agents/manager/chat", { key, body: { messages: [{ role: "user", content: text }] } })
    await chat('/tool bash {"command":"printf \\"one\\\\nt\\\\033[31mwo\\""}')
    const first = await until(async () => {
      const { body } = await app.call("GET", "/users/ada/logs?tail=50", { key })
      return body.logs.some((l: { message: string }) => l.message.includes("\\u001b[31m")) && body.logs
    }, "the sandbox's output to be in the log")
    for (const { time, agent, level } of first as { time: string; agent: string; level: string }[]) {
      assert.match(time, /^\d{4}-\d\d-\d\dT[\d:.]{12}Z$/)
      assert.ok(["manager", "writer", null].includes(agent) && ["debug", "info", "warn", "error"].includes(level))
    }
    const lines = await app.call("GET", "/users/ada/logs?agent=manager", { key, headers: { Accept: "text/plain" } })
    assert.match(lines.headers.get("content-type") ?? "", /^text\/plain/)
    assert.match(lines.text, /^(\S+Z \w+ +\w+ manager: [^\n\x00-\x1f]*\n)+$/)
    assert.deepEqual(
      (await app.call("GET", "/users/ada/logs?agent=writer&tail=1", { key })).body.logs.length <= 1,
      true,
    )
    const since = new Date(Date.now() + 60_000).toISOString()
    assert.deepEqual((await app.call("GET", `/users/ada/logs?since=${since}`, { key })).body, { logs: [] })

    const stop = new AbortController()
    const follow = await fetch(`${app.url}/api/v1/users/ada/logs?follow=true&tail=0`, {
      headers: { "X-API-Key": key },
      signal: stop.signal,
    })
    assert.match(follow.headers.get("content-type") ?? "", /^text\/event-stream/)
    let got = ""
    const reading = (async () => {
      for await (const chunk of follow.body ?? []) got += Buffer.from(chunk)
    })().catch(() => {})
    await chat('/tool bash {"command":"echo three"}')
    await until(() => /^id: [0-9a-f]{32}\nevent: log\ndata: \{.*three.*\}\n\n/m.test(got), "the new line to come")
    assert.ok(!got.includes('"message":"one"'))
    await app.call("POST", "/users/ada/rotate-key", {})
    await reading
    stop.abort()
    assert.ok(Array.isArray((await app.call("GET", "/logs")).body.logs))
  })

  test("a reader of the log comes back to what it missed, and its ids tell nothing of other accounts' lines", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const key = await ada(app)
    const say = async (word: string, path = "/users/ada/agents/manager", by = key) => {
      const body = { messages: [{ role: "user", content: `/tool bash {"command":"echo ${word}"}` }] }
      assert.equal((await app.call("POST", `${path}/chat`, { key: by, body })).status, 200)
    }
    /** Reads until a word came; gives whole events. */
    const read = async (word: string, lastId: string | null) => {
      const stop = new AbortController()
      const response = await fetch(`${app.url}/api/v1/users/ada/logs?follow=true`, {
        headers: { "X-API-Key": key, ...(lastId === null ? {} : { "Last-Event-ID": lastId }) },
        signal: stop.signal,
      })
      let got = ""
      for await (const chunk of response.body ?? []) {
        got += Buffer.from(chunk)
        if (new RegExp(`${word}.*\\n\\n`).test(got)) break
      }
      stop.abort()
      return [...got.matchAll(/^id: (.+)\nevent: log\ndata: (.+)\n\n/gm)].map(([, id = "", data = ""]) => {
        return { id, ...JSON.parse(data) }
      })
    }
    await say("first-word")
    const before = await read("first-word", null)
    const at = before.find(({ message }) => message === "first-word")
    const others = await app.call("POST", "/users", { body: { user: "bob" } })
    await app.call("POST", "/users/bob/agents", { body: { name: "manager" } })
    await say("second-word")
    for (let i = 0; i < 5; i++) await say("other-word", "/users/bob/agents/manager", others.body.api_key)
    await say("third-word")
    const missed = await read("third-word", at.id)
    const said = missed.map(({ message }) => message).filter((message) => message.endsWith("-word"))
    assert.deepEqual(said, ["second-word", "third-word"])
    const known = [...before, ...missed].map(({ id }) => id)
    assert.ok(known.every((id) => /^[0-9a-f]{32}$/.test(id)))
    assert.notDeepEqual(
      missed.map(({ id }) => id),
      missed.map(({ id }) => id).toSorted(),
    )
    // What is no id of this log counts as none: the tail comes.
    const strange = await read("third-word", "7")
    assert.ok(strange.some(({ message }) => message === "first-word"))
  })
})
