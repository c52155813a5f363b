import assert from "node:assert/strict"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, describe, test } from "node:test"
import { startOpenAiDouble } from "../../../test/doubles/openai.ts"
import { stopOwnPostgres } from "../../../test/postgres.ts"
import { startServer, type TestServer } from "../../../test/server.ts"
import { until } from "../../../test/until.ts"

const A = "/users/ada/agents/manager"
const says = (content: string, more: object = {}) => ({ messages: [{ role: "user", content }], ...more })
const ENV = { AUTONOMIS_SANDBOX: "none", AUTONOMIS_WORKERS: "1" }

/** Everything that a run's stream holds, as text. */
async function streamOf(server: TestServer, runId: string, lastEventId = 0): Promise<string> {
  const answer = await fetch(`${server.url}/api/v1${A}/runs/${runId}/stream`, {
    headers: { "X-API-Key": server.adminKey, "Last-Event-ID": String(lastEventId) },
  })
  assert.equal(answer.status, 200)
  return answer.text()
}

const idsOf = (text: string) => [...text.matchAll(/^id: (\d+)$/gm)].map((match) => Number(match[1]))
const namesOf = (text: string) => [...text.matchAll(/^event: (.+)$/gm)].map((match) => match[1])

for (const database of ["sqlite", "postgres"] as const) {
  describe(database, () => {
    test("after kill -9 what was answered is there, what was under way has failed, and the session goes on", async () => {
      const dataDir = mkdtempSync(join(tmpdir(), "autonomis-restart-"))
      try {
        await using first = await startServer({ dataDir, database, env: ENV })
        await first.call("POST", "/users", { user: "ada", tier: "pro" })
        await first.call("POST", "/users/ada/agents", { name: "manager" })
        const done = await first.call("POST", `${A}/chat`, says("Who are you?", { session: "s" }))
        assert.equal(done.status, 200)
        const command = '/tool bash {"command":"echo begun; sleep 100"}'
        const under = await first.call("POST", `${A}/chat`, says(command, { session: "s", background: true }))
        const waiting = await first.call("POST", `${A}/chat`, says("later", { session: "s", background: true }))
        assert.equal(waiting.body.state, "queued")
        const reading = await fetch(`${first.url}/api/v1${A}/runs/${under.body.run_id}/stream`, {
          headers: { "X-API-Key": first.adminKey },
        })
        let seen = ""
        const reader = reading.body?.getReader()
        await until(async () => {
          const { value } = (await reader?.read()) ?? {}
          seen += new TextDecoder().decode(value)
          return seen.includes("begun")
        }, "the command runs")
        // A boundary is durable a moment after it was shown.
        const stored = async () => (await first.call("GET", `${A}/sessions/s`)).body.messages.length === 4
        await until(stored, "the message with the call is stored")
        await first.kill9()
        await reader?.cancel().catch(() => {})

        const url = first.databaseUrl
        await using second = await startServer({ dataDir, env: ENV, ...(url === null ? {} : { databaseUrl: url }) })
        for (const { body } of [under, waiting]) {
          const run = await second.call("GET", `${A}/runs/${body.run_id}`)
          assert.deepEqual([run.body.state, run.body.error?.error], ["failed", "the server was restarted"])
        }
        const text = await streamOf(second, under.body.run_id)
        assert.deepEqual(namesOf(text).slice(-1), ["error"])
        assert.equal(namesOf(text)[0], "run.started")
        const last = Math.max(...idsOf(seen))
        const rest = await streamOf(second, under.body.run_id, last)
        assert.deepEqual(namesOf(rest), ["error"])
        assert.ok(idsOf(rest).every((id) => id > last))
        assert.equal((await second.call("GET", `${A}/runs/${done.body.run_id}`)).body.state, "succeeded")

        const next = await second.call("POST", `${A}/chat`, says("And now?", { session: "s" }))
        assert.equal(next.status, 200)
        const { messages } = (await second.call("GET", `${A}/sessions/s`)).body
        const roles = messages.map(({ role }: { role: string }) => role)
        assert.deepEqual(roles, ["user", "assistant", "user", "assistant", "user", "assistant"])
        assert.deepEqual(messages[3].tool_calls[0].result, "interrupted")
        const usage = (await second.call("GET", "/users/ada/usage")).body
        assert.equal(usage.runs, 3)
        assert.equal(await second.stop(), 0)
      } finally {
        rmSync(dataDir, { recursive: true, force: true })
      }
    })
    test("a model call that was under way at kill -9 is in the sums, once, as an estimate", async () => {
      const dataDir = mkdtempSync(join(tmpdir(), "autonomis-restart-"))
      try {
        await using provider = await startOpenAiDouble()
        provider.script([{ text: "Hello." }, { hang: "body" }, { hang: "body" }])
        const platform = { OPENAI_API_KEY: "key-12345678", OPENAI_BASE_URL: `${provider.url}/v1` }
        const env = { ...ENV, ...platform, AUTONOMIS_DEFAULT_MODEL: "openai/gpt-5.4" }
        await using first = await startServer({ dataDir, database, env })
        // One with limits, one without any.
        for (const [user, tier] of [
          ["ada", "pro"],
          ["bob", "enterprise"],
        ]) {
          await first.call("POST", "/users", { user, tier })
          await first.call("POST", `/users/${user}/agents`, { name: "manager" })
        }
        const counted = (await first.call("POST", `${A}/chat`, says("Who are you?"))).body.usage
        for (const user of ["ada", "bob"])
          await first.call("POST", `/users/${user}/agents/manager/chat`, says("And now?", { background: true }))
        await until(() => provider.requests.length === 3, "the calls have reached the provider")
        const usageOf = async (server: TestServer, user: string) =>
          (await server.call("GET", `/users/${user}/usage`)).body
        const before = await usageOf(first, "ada")
        assert.deepEqual([before.tokens.total, before.estimated], [counted.total_tokens, false])
        await first.kill9()

        const url = first.databaseUrl
        const again = { dataDir, env, ...(url === null ? {} : { databaseUrl: url }) }
        let reports: unknown[] = []
        for (let starts = 0; starts < 2; starts++) {
          await using server = await startServer(again)
          const now = [await usageOf(server, "ada"), await usageOf(server, "bob")]
          for (const { tokens, estimated, cost_usd, by_model, by_agent } of now) {
            assert.equal(estimated, true)
            assert.ok(tokens.input > 0 && cost_usd > 0)
            assert.deepEqual([by_model[0].model, by_agent[0].agent], ["openai/gpt-5.4", "manager"])
          }
          assert.ok(now[0].tokens.input > before.tokens.input)
          assert.equal(now[0].tokens.output, before.tokens.output)
          if (starts > 0) assert.deepEqual(now, reports)
          reports = now
          assert.equal(await server.stop(), 0)
        }
      } finally {
        rmSync(dataDir, { recursive: true, force: true })
      }
    })
  })
}
after(stopOwnPostgres)
