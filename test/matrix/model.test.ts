import assert from "node:assert/strict"
import { test } from "node:test"
import { DEFAULT_CONFIG } from "@autonomis/contract/agents.ts"
import { NAME_PATTERN } from "@autonomis/contract/common.ts"
import { TEMPLATE_NAMES } from "@autonomis/contract/templates.ts"
import fc from "fast-check"
import { type AppAnswer, startApp, type TestApp } from "../app.ts"
import { forEachDatabase } from "../databases.ts"
import { newCast } from "./cast.ts"

const RUNS = process.env.TEST_LONG ? 60 : 5
const STEPS = 25

/** What should be there, kept as simply as it can be. */
interface Model {
  agents: Map<string, { description: string | null; config: Record<string, unknown>; made: number }>
  default: string | null
  templates: Map<string, string>
  secrets: Map<string, boolean>
  files: Map<string, string>
  made: number
}

const { tools: _all, ...DEFAULTS } = DEFAULT_CONFIG
const agentName = fc.constantFrom("a", "b", "c-1", "d".repeat(40), "-bad", "Bad", "x_y", "")
const templateText = fc.oneof(
  fc.constant(null),
  fc.string({ maxLength: 30 }).filter((t) => t.isWellFormed() && !t.includes("\0")),
)
const secretKey = fc.constantFrom(
  "A",
  "b_c",
  "GITHUB_TOKEN",
  "github_token",
  "1X",
  "PATH",
  "LD_PRELOAD",
  "X-Y",
  "AUTONOMIS_X",
)
const filePath = fc.constantFrom("n.txt", "d/a.txt", "d/e/f.txt", "ü.txt", "with space", "..", "a/../../b", "d")

type Command =
  | { do: "create"; name: string }
  | { do: "delete"; name: string }
  | { do: "default"; name: string }
  | { do: "config"; name: string; patch: Record<string, unknown> }
  | { do: "template"; name: string; text: string | null }
  | { do: "secret"; key: string; value: string }
  | { do: "forget"; key: string }
  | { do: "write"; path: string; text: string }
  | { do: "remove"; path: string }

const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ do: fc.constant("create" as const), name: agentName }),
  fc.record({ do: fc.constant("delete" as const), name: agentName }),
  fc.record({ do: fc.constant("default" as const), name: agentName }),
  fc.record({
    do: fc.constant("config" as const),
    name: agentName,
    patch: fc.record(
      {
        thinking: fc.constantFrom(null, "low", "high", "much"),
        max_turns: fc.constantFrom(null, 1, 7, 0),
        max_output_tokens: fc.constantFrom(null, 256, 1000, "x"),
      },
      { requiredKeys: [] },
    ),
  }),
  fc.record({
    do: fc.constant("template" as const),
    name: fc.constantFrom(...TEMPLATE_NAMES, "OTHER.md"),
    text: templateText,
  }),
  fc.record({
    do: fc.constant("secret" as const),
    key: secretKey,
    value: fc.constantFrom("", "short", "long-enough-to-mask"),
  }),
  fc.record({ do: fc.constant("forget" as const), key: secretKey }),
  fc.record({ do: fc.constant("write" as const), path: filePath, text: fc.string({ maxLength: 20 }) }),
  fc.record({ do: fc.constant("remove" as const), path: filePath }),
)

const RESERVED = /^(PATH|LD_.*|AUTONOMIS_.*)$/
const goodKey = (key: string) => /^[A-Z_][A-Z0-9_]*$/.test(key) && !RESERVED.test(key)
const goodPatch = (patch: Record<string, unknown>) =>
  patch.thinking !== "much" && patch.max_turns !== 0 && patch.max_output_tokens !== "x"

/** Does it in the model; gives the status that the call should have. */
function expected(model: Model, step: Command): number {
  const { agents } = model
  switch (step.do) {
    case "create":
      if (!NAME_PATTERN.test(step.name)) return 400
      if (agents.has(step.name)) return 409
      agents.set(step.name, { description: null, config: {}, made: model.made++ })
      model.default ??= step.name
      return 201
    case "delete": {
      if (!agents.delete(step.name)) return 404
      const oldest = [...agents].sort(([, a], [, b]) => a.made - b.made)[0]?.[0] ?? null
      if (model.default === step.name) model.default = oldest
      return 204
    }
    case "default":
      if (!agents.has(step.name)) return 404
      model.default = step.name
      return 200
    case "config": {
      const agent = agents.get(step.name)
      if (!agent) return 404
      if (!goodPatch(step.patch)) return 400
      for (const [key, value] of Object.entries(step.patch)) {
        if (value === null) delete agent.config[key]
        else agent.config[key] = value
      }
      return 200
    }
    case "template":
      if (step.name === "OTHER.md") return 400
      if (step.text === null) model.templates.delete(step.name)
      else model.templates.set(step.name, step.text)
      return 200
    case "secret": {
      const key = step.key.toUpperCase()
      if (!goodKey(key) || step.value === "") return 400
      model.secrets.set(key, step.value.length >= 8)
      return 200
    }
    case "forget":
      return model.secrets.delete(step.key.toUpperCase()) ? 204 : 404
    case "write": {
      if (step.path.includes("..")) return 400
      if (isFolder(model, step.path)) return 409
      const status = model.files.has(step.path) ? 200 : 201
      // A folder cannot be made where a file stands.
      const parents = step.path.split("/").slice(0, -1)
      if (parents.some((_, i) => model.files.has(parents.slice(0, i + 1).join("/")))) return 409
      model.files.set(step.path, step.text)
      return status
    }
    case "remove":
      if (step.path.includes("..")) return 400
      if (model.files.delete(step.path)) return 204
      return isFolder(model, step.path) ? -1 : 404
  }
}

const isFolder = ({ files }: Model, path: string) => [...files.keys()].some((file) => file.startsWith(`${path}/`))

function perform(app: TestApp, path: string, key: string, step: Command): Promise<AppAnswer> {
  const at = (name: string) => `${path}/agents/${encodeURIComponent(name)}`
  // As it is, so that no client straightens it first.
  const file = (name: string) =>
    `${path}/agents/keeper/files/${encodeURIComponent(name).replaceAll("%2F", "/").replaceAll("..", "%2e%2e%5c")}`
  switch (step.do) {
    case "create":
      return app.call("POST", `${path}/agents`, { key, body: { name: step.name } })
    case "delete":
      return app.call("DELETE", at(step.name), { key })
    case "default":
      return app.call("PATCH", at(step.name), { key, body: { default: true } })
    case "config":
      return app.call("PATCH", `${at(step.name)}/config`, { key, body: step.patch })
    case "template":
      return app.call("PUT", `${path}/agent-templates`, { key, body: { templates: { [step.name]: step.text } } })
    case "secret":
      return app.call("PUT", `${path}/secrets`, { key, body: { secrets: { [step.key]: step.value } } })
    case "forget":
      return app.call("DELETE", `${path}/secrets/${step.key}`, { key })
    case "write":
      return app.call("PUT", file(step.path), { key, body: step.text, headers: { "Content-Type": "text/plain" } })
    case "remove":
      return app.call("DELETE", file(step.path), { key })
  }
}

/** Everything in the lists, page by page of the given size. */
async function listed(app: TestApp, path: string, key: string, name: string, limit: number) {
  // biome-ignore lint/suspicious/noExplicitAny: rows of any list
  const rows: any[] = []
  let cursor: string | null = null
  do {
    const { body } = await app.call("GET", `${path}?limit=${limit}${cursor === null ? "" : `&cursor=${cursor}`}`, {
      key,
    })
    rows.push(...body[name])
    cursor = body.next_cursor
  } while (cursor !== null)
  return rows
}

forEachDatabase((_name, open) => {
  test("any sequence of calls leaves what a simple model says, and answers as it says", async () => {
    await using db = await open()
    await using app = await startApp(db)
    await fc.assert(
      fc.asyncProperty(
        fc.array(command, { minLength: STEPS, maxLength: STEPS }),
        fc.integer({ min: 1, max: 3 }),
        async (steps, limit) => {
          const cast = await newCast(app, true)
          const key = cast.user.key
          const model: Model = {
            agents: new Map(),
            default: null,
            templates: new Map(),
            secrets: new Map(),
            files: new Map(),
            made: 0,
          }
          assert.equal((await perform(app, cast.path, key, { do: "create", name: "keeper" })).status, 201)
          expected(model, { do: "create", name: "keeper" })
          for (const step of steps) {
            // An empty name is another path.
            if ("name" in step && step.name === "" && step.do !== "create") continue
            // Whether an empty folder is left behind is not for this model.
            if (step.do === "remove" && isFolder(model, step.path)) continue
            if (step.do === "remove" && step.path === "d") continue
            if (step.do === "write" && step.path === "d") continue
            const status = expected(model, step)
            const answer = await perform(app, cast.path, key, step)
            assert.equal(answer.status, status, `${JSON.stringify(step)}: ${answer.text}`)
          }
          const agents = await listed(app, `${cast.path}/agents`, key, "agents", limit)
          assert.deepEqual(
            agents.map((a) => a.name),
            [...model.agents.keys()].sort(),
          )
          for (const agent of agents) {
            const { tools: _tools, ...config } = agent.config
            assert.deepEqual(config, { ...DEFAULTS, ...model.agents.get(agent.name)?.config })
            assert.equal(agent.default, agent.name === model.default, agent.name)
          }
          const templates = (await app.call("GET", `${cast.path}/agent-templates`, { key })).body
          for (const name of TEMPLATE_NAMES) {
            assert.equal(templates.source[name], model.templates.has(name) ? "user" : "platform")
            if (model.templates.has(name)) assert.equal(templates.templates[name], model.templates.get(name))
          }
          const { secrets } = (await app.call("GET", `${cast.path}/secrets`, { key })).body
          const shown = secrets.map((s: { key: string; masked: boolean; value: string }) => [s.key, s.masked, s.value])
          assert.deepEqual(
            shown,
            [...model.secrets].sort().map(([name, masked]) => [name, masked, "********"]),
          )
          for (const [path, text] of model.files) {
            const url = `${cast.path}/agents/keeper/files/${path.split("/").map(encodeURIComponent).join("/")}`
            assert.equal((await app.call("GET", url, { key })).text, text)
          }
        },
      ),
      { numRuns: RUNS },
    )
  })

  test("cursors stay right while rows come and go: nothing that stays is left out or seen twice", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const names = Array.from({ length: 30 }, (_, i) => `user-${String(i).padStart(2, "0")}`)
    for (const user of names) await app.call("POST", "/users", { body: { user } })
    const change = fc.record({ at: fc.nat({ max: 29 }), how: fc.constantFrom("delete", "add") })
    let extra = 0
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 7 }), fc.array(change, { maxLength: 6 }), async (limit, changes) => {
        const around: string[] = []
        for (const { at } of changes) {
          const user = `user-${String(at).padStart(2, "0")}-${++extra}`
          around.push(user)
          await app.call("POST", "/users", { body: { user } })
        }
        const seen: string[] = []
        let cursor: string | null = null
        do {
          const { body } = await app.call("GET", `/users?limit=${limit}${cursor === null ? "" : `&cursor=${cursor}`}`)
          seen.push(...body.users.map((u: { user: string }) => u.user))
          cursor = body.next_cursor
          const next = changes.shift()
          const gone = around.shift()
          if (next?.how === "delete" && gone) await app.call("DELETE", `/users/${gone}`)
          else if (next)
            await app.call("POST", "/users", { body: { user: `user-${String(next.at).padStart(2, "0")}-${++extra}` } })
        } while (cursor !== null)
        assert.equal(new Set(seen).size, seen.length)
        assert.deepEqual(seen, seen.toSorted())
        for (const name of names) assert.ok(seen.includes(name), `${name} was left out`)
      }),
      { numRuns: RUNS },
    )
  })
})
