import assert from "node:assert/strict"
import { test } from "node:test"
import { createClient } from "./client.ts"
import { ApiError, ConnectionError } from "./errors.ts"
import { followSkill } from "./follow.ts"

const STAGE = { stage: "downloading", bytes: 5, total: 10 }
const event = (name: string, data: object) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`

/** Installs from a server that answers with `body`; gives the stages and what came of it. */
async function install(body: string, type = "text/event-stream", status = 200) {
  const asked: (string | null)[] = []
  const client = createClient({
    baseUrl: "http://server",
    fetch: async (_url, init) => {
      asked.push(new Headers(init?.headers).get("accept"))
      return new Response(body, { status, headers: { "Content-Type": type, "X-Request-Id": "req_1" } })
    },
  })
  const signal = new AbortController().signal
  const work = followSkill((call) => client.skills.install({ user: "ada", slug: "hello" }, {}, call), signal)
  const stages: unknown[] = []
  try {
    for (;;) {
      const { done, value } = await work.next()
      if (done) return { asked, stages, skill: value, error: null }
      stages.push(value)
    }
  } catch (error) {
    return { asked, stages, skill: null, error }
  }
}

test("an install is followed stage by stage to its skill", async () => {
  const { asked, stages, skill } = await install(event("stage", STAGE) + event("done", { id: "hello" }))
  assert.deepEqual([asked, stages, skill], [["text/event-stream"], [STAGE], { id: "hello" }])
})

test("an error on the way is thrown as if it had been the answer", async () => {
  const data = { status: 424, code: "failed_dependency", error: "the registry is away", retry_after_seconds: 7 }
  const { stages, error } = await install(event("stage", STAGE) + event("error", data))
  assert.deepEqual(stages, [STAGE])
  assert.ok(error instanceof ApiError)
  assert.deepEqual(
    [error.status, error.code, error.message, error.retryAfterSeconds, error.requestId],
    [424, "failed_dependency", "the registry is away", 7, "req_1"],
  )
})

test("a stream that breaks off is a lost connection, and a plain answer is taken as it is", async () => {
  assert.ok((await install(event("stage", STAGE))).error instanceof ConnectionError)
  assert.deepEqual((await install('{"id":"hello"}', "application/json", 201)).skill, { id: "hello" })
  assert.ok((await install('{"error":"no"}', "application/json", 400)).error instanceof ApiError)
})
