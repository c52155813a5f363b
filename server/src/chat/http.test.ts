import assert from "node:assert/strict"
import { test } from "node:test"
import { type AppAnswer, startApp, type TestApp } from "../../../test/app.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import { until } from "../../../test/until.ts"

const A = "/users/ada/agents/manager"
const says = (content: unknown, more: object = {}) => ({ messages: [{ role: "user", content }], ...more })
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
const image = (data: string, mime_type = "image/png") => ({ type: "image", mime_type, data })
const bigPng = (bytes: number) => {
  const data = Buffer.alloc(bytes)
  Buffer.from(PNG, "base64").copy(data)
  return data.toString("base64")
}

async function withAgent(app: TestApp, tier = "enterprise"): Promise<{ userKey: string; agentKey: string }> {
  const user = await app.call("POST", "/users", { body: { user: "ada", tier } })
  const agent = await app.call("POST", "/users/ada/agents", { body: { name: "manager" } })
  return { userKey: user.body.api_key, agentKey: agent.body.agents[0].api_key }
}

const errorsOf = (app: TestApp) => app.complaints.filter((line) => !line.includes("AUTONOMIS_SANDBOX=none"))

interface SseEvent {
  id: number
  event: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into events of every shape
  data: any
}

function parse(text: string): SseEvent[] {
  return text
    .split("\n\n")
    .filter((block) => block.includes("event: "))
    .map((block) => ({
      id: Number(/^id: (.*)$/m.exec(block)?.[1]),
      event: /^event: (.*)$/m.exec(block)?.[1] ?? "",
      data: JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? "null"),
    }))
}

/** An open stream that is read as far as a test wants. */
async function openStream(
  app: TestApp,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
) {
  const gone = new AbortController()
  const response = await fetch(`${app.url}/api/v1${path}`, {
    method,
    headers: { "X-API-Key": app.adminKey, ...(body ? { "Content-Type": "application/json" } : {}), ...headers },
    body: body ? JSON.stringify(body) : null,
    signal: gone.signal,
  })
  let text = ""
  const reader = response.body?.getReader()
  const decoder = new TextDecoder()
  const more = async () => {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
    text += value ? decoder.decode(value, { stream: true }) : ""
    return !done
  }
  return {
    response,
    events: () => parse(text),
    async until(event: string) {
      while (!parse(text).some((each) => each.event === event))
        if (!(await more())) throw new Error(`no ${event}: ${text}`)
      return parse(text)
    },
    async end() {
      while (await more());
      return parse(text)
    },
    leave: () => gone.abort(),
  }
}

const slow = says('/tool bash {"command":"sleep 100"}')

forEachDatabase((name, open) => {
  test("bad input to chat and chat/stream is a 400 that says what is wrong, and changes nothing", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const { userKey } = await withAgent(app)
    const long = { role: "user", content: "x" }
    const cases: [string, unknown, number][] = [
      ["not JSON", "{", 400],
      ["not an object", [], 400],
      ["a text", '"x"', 400],
      ["null", "null", 400],
      ["nothing", {}, 400],
      ["an unknown field", says("x", { temperature: 1 }), 400],
      ["__proto__", '{"__proto__":{},"messages":[{"role":"user","content":"x"}]}', 400],
      ["100,000 levels", `{"messages":${"[".repeat(100_000)}${"]".repeat(100_000)}}`, 400],
      ["no messages", { messages: [] }, 400],
      ["10,000 messages", { messages: Array.from({ length: 10_000 }, () => long) }, 400],
      ["1,001 messages", { messages: Array.from({ length: 1001 }, () => long) }, 400],
      ["a last message of the assistant", { messages: [long, { role: "assistant", content: "x" }] }, 400],
      ["only a system message", { messages: [{ role: "system", content: "x" }] }, 400],
      ["a system message in the middle", { messages: [long, { role: "system", content: "x" }, long] }, 400],
      ["an unknown role", { messages: [{ role: "tool", content: "x" }] }, 400],
      ["an unknown field of a message", { messages: [{ ...long, name: "x" }] }, 400],
      ["empty content", says(""), 400],
      ["no parts", says([]), 400],
      ["an empty part", says([{ type: "text", text: "" }]), 400],
      ["a number", says(5), 400],
      ["NUL", says("a\0b"), 400],
      ["a lone surrogate", '{"messages":[{"role":"user","content":"\\ud800"}]}', 400],
      ["an unknown part", says([{ type: "audio", data: "x" }]), 400],
      ["a false image", says([image(Buffer.from("hello world, not an image").toString("base64"))]), 400],
      ["an image of another type", says([image(PNG, "image/jpeg")]), 400],
      ["an unknown image type", says([image(PNG, "image/svg+xml")]), 400],
      ["image data that is not base64", says([image("****")]), 400],
      ["image data of half a digit", says([image(`${PNG.slice(0, 41)}`)]), 400],
      ["nine images", says(Array.from({ length: 9 }, () => image(PNG))), 400],
      ["an image over 5 MiB", says([image(bigPng(5 * 1024 * 1024 + 1))]), 400],
      ["the assistant's image", { messages: [{ role: "assistant", content: [image(PNG)] }, long] }, 400],
      ["a bad session name", says("x", { session: "../etc" }), 400],
      ["a session name of 65", says("x", { session: "a".repeat(65) }), 400],
      ["an empty session name", says("x", { session: "" }), 400],
      ["an unknown model", says("x", { model: "nobody/knows" }), 400],
      ["a model without provider", says("x", { model: "gpt" }), 400],
      ["a model of a provider without a key", says("x", { model: "openai/gpt-5.4" }), 424],
      ["resume_seconds past 300", says("x", { resume_seconds: 301 }), 400],
      ["a negative resume_seconds", says("x", { resume_seconds: -1 }), 400],
      ["background as text", says("x", { background: "yes" }), 400],
    ]
    for (const path of [`${A}/chat`, `${A}/chat/stream`]) {
      for (const [what, body, status] of cases) {
        const raw = typeof body === "string"
        const answer = await app.call("POST", path, {
          key: userKey,
          body,
          ...(raw ? { headers: { "Content-Type": "application/json" } } : {}),
        })
        assert.equal(answer.status, status, `${path}: ${what}: ${answer.text.slice(0, 300)}`)
        assert.ok(answer.body.error.length > 0, what)
      }
      const type = { "Content-Type": "text/plain" }
      assert.equal((await app.call("POST", path, { body: JSON.stringify(says("x")), headers: type })).status, 415)
      const wrong = await app.call("PUT", path, { body: {} })
      assert.deepEqual([wrong.status, wrong.headers.get("allow")], [405, "OPTIONS, POST"])
      const huge = await app.call("POST", path, { body: says("x".repeat(20 * 1024 * 1024)) })
      assert.equal(huge.status, 413)
    }
    for (const table of ["runs", "sessions", "messages", "attachments", "usage_daily"] as const)
      assert.deepEqual(await db.kysely.selectFrom(table).selectAll().execute(), [], table)
    assert.deepEqual(errorsOf(app), [])
  })

  test("what stands at the limits is taken", async () => {
    await using db = await open()
    await using app = await startApp(db)
    await withAgent(app)
    const thousand = Array.from({ length: 1000 }, (_, i) => ({ role: i % 2 ? "user" : "assistant", content: "x" }))
    for (const body of [
      { messages: thousand },
      says("x", { session: "a".repeat(64) }),
      says(Array.from({ length: 8 }, () => image(PNG))),
      says([image(bigPng(5 * 1024 * 1024))], { session: "images" }),
      says("x", { session: null, model: null, resume_seconds: 300 }),
    ]) {
      const answer = await app.call("POST", `${A}/chat`, { body })
      assert.equal(answer.status, 200, answer.text.slice(0, 300))
    }
  })

  test("bad input to runs and sessions", async () => {
    await using db = await open()
    await using app = await startApp(db)
    await withAgent(app)
    await app.call("POST", `${A}/chat`, { body: says("x", { session: "s" }) })
    const cases: [string, string, number][] = [
      ["GET", "/runs/run_none", 404],
      ["GET", "/runs/run_none/stream", 404],
      ["POST", "/runs/run_none/cancel", 404],
      ["GET", `/runs/${"x".repeat(65)}`, 400],
      ["GET", "/sessions/none", 404],
      ["GET", "/sessions/..%2f", 400],
      ["GET", "/sessions/-bad", 400],
      ["DELETE", "/sessions/none", 404],
      ["DELETE", "/sessions/s/messages/msg_none", 404],
      ["DELETE", "/sessions/none/messages/msg_none", 404],
      ["GET", "/sessions?limit=0", 400],
      ["GET", "/sessions?limit=201", 400],
      ["GET", "/sessions?limit=x", 400],
      ["GET", "/sessions?cursor=nonsense", 400],
      ["GET", "/sessions?other=1", 400],
      ["GET", "/sessions/s?cursor=WyJ4Il0", 400],
      ["PUT", "/sessions/s", 405],
      ["POST", "/runs/run_none", 405],
    ]
    for (const [method, path, status] of cases) {
      const answer = await app.call(method, A + path)
      assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`)
    }
    const session = await app.call("GET", `${A}/sessions/s`)
    assert.equal(session.body.messages.length, 2)
    assert.deepEqual(errorsOf(app), [])
  })

  test("a stream's headers forbid buffering, and its last event is the answer", async () => {
    await using db = await open()
    await using app = await startApp(db)
    await withAgent(app)
    const stream = await openStream(app, "POST", `${A}/chat/stream`, says("Who are you?", { session: "s" }))
    assert.equal(stream.response.status, 200)
    assert.match(stream.response.headers.get("content-type") ?? "", /^text\/event-stream/)
    assert.equal(stream.response.headers.get("x-accel-buffering"), "no")
    assert.equal(stream.response.headers.get("content-encoding"), null)
    const events = await stream.end()
    assert.equal(events[0]?.event, "run.started")
    const said = events.filter(({ event }) => event === "message.delta").map(({ data }) => data.delta)
    assert.ok(said.length > 1)
    const { event, data } = events.at(-1) ?? { event: "", data: null }
    assert.equal(event, "done")
    assert.equal(said.join(""), data.message)
    const run = await app.call("GET", `${A}/runs/${data.run_id}`)
    assert.equal(run.body.state, "succeeded")
    assert.deepEqual(run.body.result, data)
  })

  test("who closes a chat cancels it at once, down to the command in the sandbox", async () => {
    await using db = await open()
    await using app = await startApp(db)
    await withAgent(app)
    const gone = new AbortController()
    const headers = { "Idempotency-Key": "again" }
    const asked = app.call("POST", `${A}/chat`, { body: slow, headers, signal: gone.signal }).catch(() => null)
    await until(
      async () =>
        (await db.kysely.selectFrom("run_events").select("type").execute()).some(({ type }) => type === "tool.started"),
      "the tool runs",
    )
    gone.abort()
    await asked
    const run = await until(async () => {
      const row = await db.kysely.selectFrom("runs").selectAll().executeTakeFirst()
      return row?.finished_at ? row : null
    }, "the run has ended")
    assert.equal(run.state, "cancelled")

    // Who comes again with the same key starts anew: no answer had reached them.
    await until(
      async () =>
        (await db.kysely.selectFrom("idempotency").select("owner").execute()).every(({ owner }) => owner === null),
      "the key is free",
    )
    const second = app.call("POST", `${A}/chat`, { body: slow, headers })
    const next = await until(async () => {
      const rows = await db.kysely.selectFrom("runs").select(["id", "state"]).orderBy("created_at").execute()
      return rows[1]?.state === "running" ? rows[1] : null
    }, "the second run")
    await app.call("POST", `${A}/runs/${next.id}/cancel`)
    assert.equal((await second).body.code, "cancelled")
  })

  test("a stream's run waits for its reader as long as was agreed, and the reader misses nothing", async () => {
    await using db = await open()
    await using app = await startApp(db)
    await withAgent(app)
    const command = says('/tool bash {"command":"for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.05; done"}')
    const first = await openStream(app, "POST", `${A}/chat/stream`, command)
    const seen = await first.until("tool.output")
    first.leave()
    const run = seen[0]?.data.run_id
    const last = seen.at(-1)?.id ?? 0
    const second = await openStream(app, "GET", `${A}/runs/${run}/stream`, undefined, { "Last-Event-ID": String(last) })
    const rest = await second.end()
    assert.equal(rest.at(-1)?.event, "done")
    assert.ok(rest.every(({ id }) => id > last))
    const output = [...seen, ...rest].filter(({ event }) => event === "tool.output").map(({ data }) => data.delta)
    assert.equal(output.join(""), Array.from({ length: 8 }, (_, i) => `line ${i + 1}\n`).join(""))

    const impatient = await openStream(app, "POST", `${A}/chat/stream`, { ...slow, resume_seconds: 0 })
    const [started] = await impatient.until("run.started")
    impatient.leave()
    const ended = await until(async () => {
      const { body } = await app.call("GET", `${A}/runs/${started?.data.run_id}`)
      return body.state === "running" ? null : body
    }, "the run has ended")
    assert.equal(ended.state, "cancelled")
  })

  test("in the background a chat answers 202 at once, and cancel ends it; then cancel is a 409", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const { agentKey } = await withAgent(app)
    const accepted = await app.call("POST", `${A}/chat`, { body: { ...slow, background: true }, key: agentKey })
    assert.equal(accepted.status, 202)
    assert.equal(accepted.body.state, "running")
    const run = `${A}/runs/${accepted.body.run_id}`
    const reading = await openStream(app, "GET", `${run}/stream`)
    await reading.until("tool.started")
    reading.leave()
    const cancelled = await app.call("POST", `${run}/cancel`, { key: agentKey })
    assert.equal(cancelled.status, 202)
    assert.equal(cancelled.body.run_id, accepted.body.run_id)
    await until(async () => (await app.call("GET", run)).body.state === "cancelled", "cancelled")
    assert.equal((await app.call("POST", `${run}/cancel`)).status, 409)
    const replay = await openStream(app, "GET", `${run}/stream`)
    const events = await replay.end()
    assert.deepEqual(events.at(-1)?.data, { error: "the run was cancelled", code: "cancelled" })
  })

  test("a waiting chat whose run is cancelled is told so with a 409", async () => {
    await using db = await open()
    await using app = await startApp(db)
    await withAgent(app)
    const asked: Promise<AppAnswer> = app.call("POST", `${A}/chat`, { body: slow })
    const { id } = await until(async () => db.kysely.selectFrom("runs").select("id").executeTakeFirst(), "the run")
    await app.call("POST", `${A}/runs/${id}/cancel`)
    const answer = await asked
    assert.deepEqual([answer.status, answer.body.code], [409, "cancelled"])
  })

  test("the same Idempotency-Key on a stream joins the same run; on a chat it replays the answer", async () => {
    await using db = await open()
    await using app = await startApp(db)
    await withAgent(app)
    const headers = { "Idempotency-Key": "once" }
    const body = says('/tool bash {"command":"echo once"}', { session: "s" })
    const [one, two] = await Promise.all([
      openStream(app, "POST", `${A}/chat/stream`, body, headers),
      openStream(app, "POST", `${A}/chat/stream`, body, headers),
    ])
    const [a, b] = [await one.end(), await two.end()]
    const late = await (await openStream(app, "POST", `${A}/chat/stream`, body, headers)).end()
    assert.equal(a[0]?.data.run_id, b[0]?.data.run_id)
    assert.deepEqual(a.at(-1), b.at(-1))
    assert.deepEqual(late.at(-1)?.data, a.at(-1)?.data)
    const answers = [
      await app.call("POST", `${A}/chat`, { body, headers }),
      await app.call("POST", `${A}/chat`, { body, headers }),
    ]
    assert.deepEqual(answers[0]?.body, answers[1]?.body)
    assert.equal(answers[1]?.headers.get("idempotent-replayed"), "true")
    assert.equal((await db.kysely.selectFrom("runs").select("id").execute()).length, 2)
  })

  test("a stream ends when its key dies; the paused platform takes no run", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const { agentKey } = await withAgent(app)
    const stream = await openStream(app, "POST", `${A}/chat/stream`, slow, { "X-API-Key": agentKey })
    await stream.until("tool.started")
    await app.call("POST", `${A}/rotate-key`)
    const events = await stream.end()
    assert.notEqual(events.at(-1)?.event, "done")
    await app.call("PUT", "/pause", { body: { paused: true } })
    const refused = await app.call("POST", `${A}/chat`, { body: says("x") })
    assert.deepEqual([refused.status, refused.body], [503, { error: "internal server error" }])
    assert.ok(Number(refused.headers.get("retry-after")) > 0)
    await app.call("PUT", "/pause", { body: { paused: false } })
    assert.equal((await app.call("POST", `${A}/chat`, { body: says("x") })).status, 200)
  })

  test("sessions: recent first, read in pages that hold each message once", async () => {
    await using db = await open()
    await using app = await startApp(db)
    await withAgent(app)
    for (const session of ["a", "b", "c", "a"]) {
      const body = says(`/tool bash {"command":"echo in ${session}"}`, { session })
      assert.equal((await app.call("POST", `${A}/chat`, { body })).status, 200)
    }
    const names: string[] = []
    for (let cursor = ""; ; ) {
      const { body } = await app.call("GET", `${A}/sessions?limit=2${cursor}`)
      for (const { session } of body.sessions) names.push(session)
      if (body.next_cursor === null) break
      cursor = `&cursor=${body.next_cursor}`
    }
    assert.deepEqual(names, ["a", "c", "b"])
    const whole = (await app.call("GET", `${A}/sessions/a`)).body.messages
    // biome-ignore lint/suspicious/noExplicitAny: as the API answers
    const paged: any[] = []
    for (let cursor = ""; ; ) {
      const { body } = await app.call("GET", `${A}/sessions/a?limit=1${cursor}`)
      paged.push(...body.messages)
      if (body.next_cursor === null) break
      cursor = `&cursor=${body.next_cursor}`
    }
    assert.deepEqual(paged, whole)
    assert.deepEqual(
      whole.map(({ role, tool_calls }: { role: string; tool_calls: { result: string }[] }) => [
        role,
        tool_calls[0]?.result,
      ]),
      [
        ["user", undefined],
        ["assistant", "in a\n"],
        ["assistant", undefined],
        ["user", undefined],
        ["assistant", "in a\n"],
        ["assistant", undefined],
      ],
    )
  })

  test("an image of a session is kept once, shown by its hash, and gone with the last session that names it", async () => {
    await using db = await open()
    await using app = await startApp(db)
    await withAgent(app)
    for (const session of ["one", "two"])
      assert.equal(
        (await app.call("POST", `${A}/chat`, { body: says([image(PNG), { type: "text", text: "?" }], { session }) }))
          .status,
        200,
      )
    const { messages } = (await app.call("GET", `${A}/sessions/one`)).body
    const { hash } = messages[0].content[0]
    assert.match(hash, /^[0-9a-f]{64}$/)
    assert.deepEqual(messages[0].content[0], { type: "image", mime_type: "image/png", hash })
    const kept = async () => {
      const rows = await db.kysely.selectFrom("attachments").select(["hash", "size_bytes"]).execute()
      return rows.map((row) => [row.hash, row.size_bytes])
    }
    assert.deepEqual(await kept(), [[hash, Buffer.from(PNG, "base64").length]])
    await app.call("DELETE", `${A}/sessions/one`)
    assert.equal((await kept()).length, 1)
    const again = await app.call("POST", `${A}/chat`, { body: says("And now?", { session: "two" }) })
    assert.equal(again.status, 200)
    await app.call("DELETE", `${A}/sessions/two`)
    assert.deepEqual(await kept(), [])
  })

  if (name === "postgres") {
    test("two servers on one database: order, limits, cancel and reading hold over both", async () => {
      await using db = await open()
      const adminKey = "an-admin-key-for-both-servers"
      const masterKey = new Uint8Array(32).fill(7)
      await using one = await startApp(db, { adminKey, masterKey })
      await using two = await startApp(await db.another(), { adminKey, masterKey })
      await withAgent(one, "pro")
      const run = await one.call("POST", `${A}/chat`, { body: { ...slow, session: "s", background: true } })
      const waiting = two.call("POST", `${A}/chat`, { body: says("after it", { session: "s" }) })
      const read = await openStream(two, "GET", `${A}/runs/${run.body.run_id}/stream`)
      await read.until("tool.started")
      assert.equal((await two.call("DELETE", `${A}/sessions/s`)).status, 409)
      assert.equal((await two.call("POST", `${A}/runs/${run.body.run_id}/cancel`)).status, 202)
      assert.equal((await read.end()).at(-1)?.event, "error")
      assert.equal((await waiting).status, 200)
      await until(() => one.app.idle().then(() => true), "the owner has stopped too")
      const results = await Promise.all(
        Array.from({ length: 40 }, (_, i) =>
          (i % 2 ? one : two).call("POST", `${A}/chat`, { body: { ...slow, background: true } }),
        ),
      )
      assert.equal(results.filter(({ status }) => status === 202).length, 10)
      assert.ok(results.every(({ status, body }) => status === 202 || body.code === "concurrency_limit"))
      for (const { status, body } of results)
        if (status === 202) await one.call("POST", `${A}/runs/${body.run_id}/cancel`)
      await Promise.all([one.app.idle(), two.app.idle()])

      // A reader on the other server is one too: the run is not given up while it is there.
      const body = { ...says('/tool bash {"command":"sleep 4; echo survived"}'), resume_seconds: 1 }
      const first = await openStream(one, "POST", `${A}/chat/stream`, body)
      const [started] = await first.until("tool.started")
      const second = await openStream(two, "GET", `${A}/runs/${started?.data.run_id}/stream`)
      await second.until("run.started")
      first.leave()
      const last = (await second.end()).at(-1)
      assert.equal(last?.event, "done")
      assert.match(last?.data.message, /survived/)
      await one.call("PUT", "/users/ada/state", { body: { state: "suspended" } })
    })
  }
})
