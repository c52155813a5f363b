import assert from "node:assert/strict"
import { test } from "node:test"
import { DEFAULT_CONFIG } from "@autonomis/contract/agents.ts"
import { forEachDatabase } from "../../../test/databases.ts"
import type { RunAgent } from "./ports.ts"
import { assistant, type Bench, openBench, says, succeeded } from "./test-kit.ts"

const AGENT: RunAgent = { name: "manager", description: null, config: DEFAULT_CONFIG, memory: "old" }

async function speak(bench: Bench, text: string) {
  const run = await bench.chat.submit(bench.say(text, { session: "s" }))
  await run.ended
  const spec = bench.runtime.specs.at(-1)
  assert.ok(spec)
  return spec
}

forEachDatabase((_name, open) => {
  test("a session's prompt stays the same to the byte, and the newest message is told that the memory changed", async () => {
    await using db = await open()
    await using bench = await openBench(db, { ports: { agent: async () => AGENT } })
    const first = await speak(bench, "1")
    bench.ports.agent = async () => ({ ...AGENT, memory: "new" })
    bench.time.now += 50 * 60_000
    const second = await speak(bench, "2")
    bench.time.now += 50 * 60_000
    const third = await speak(bench, "3")
    assert.deepEqual(second.prompt, first.prompt)
    assert.deepEqual(third.prompt, first.prompt)
    assert.equal(first.cacheKey, third.cacheKey)
    assert.doesNotMatch(first.context, /MEMORY/)
    assert.match(second.context, /MEMORY\.md has changed/)
    assert.match(second.context, /\d{4}-\d\d-\d\d \d\d:\d\d UTC/)
  })

  test("an hour without a call, changed settings, templates or skills, and a summary each bring a fresh prompt", async () => {
    await using db = await open()
    let agent = AGENT
    let soul = "Be kind."
    let skills = [{ name: "a", description: "a", path: "/skills/a" }]
    await using bench = await openBench(db, {
      ports: {
        agent: async () => agent,
        templates: async () => ({ soul, user: "", tools: "" }),
        skills: async () => skills,
      },
    })
    const memories: string[] = []
    const next = async (memory: string) => {
      agent = { ...agent, memory }
      memories.push((await speak(bench, "x")).prompt.memory)
    }
    await next("m1")
    await next("m2")
    bench.time.now += 61 * 60_000
    await next("m3")
    agent = { ...agent, config: { ...DEFAULT_CONFIG, thinking: "high" } }
    await next("m4")
    soul = "Be brief."
    await next("m5")
    skills = []
    await next("m6")
    await next("m7")
    bench.runtime.script = async (spec, host, signal) => {
      host.onEvent({ type: "message", message: { v: 1, role: "summary", text: "so far", covers_to_seq: 3 } })
      return says("ok")(spec, host, signal)
    }
    await next("m8")
    bench.runtime.script = says("ok")
    await next("m9")
    assert.deepEqual(memories, ["m1", "m1", "m3", "m4", "m5", "m6", "m6", "m6", "m9"])
  })

  test("a client's system message holds for the session until another one comes", async () => {
    await using db = await open()
    await using bench = await openBench(db)
    const send = async (system: string | null) => {
      const messages = [
        ...(system === null ? [] : [{ role: "system" as const, content: system }]),
        { role: "user" as const, content: "x" },
      ]
      await (await bench.chat.submit(bench.say("", { session: "s", messages }))).ended
      return bench.runtime.specs.at(-1)?.prompt.instruction
    }
    assert.deepEqual(
      [await send(null), await send("In verse."), await send(null), await send("In prose."), await send(null)],
      [null, "In verse.", "In verse.", "In prose.", "In prose."],
    )
  })

  test("the next call is told what the provider counted last, unless that is an estimate", async () => {
    await using db = await open()
    await using bench = await openBench(db)
    assert.equal((await speak(bench, "1")).lastInputTokens, null)
    assert.equal((await speak(bench, "2")).lastInputTokens, 15)
    bench.runtime.script = async (_spec, host) => {
      const usage = { ...succeeded("").usage, total_tokens: 999, estimated: true }
      host.onEvent({ type: "message", message: assistant("cut", usage) })
      return succeeded("cut")
    }
    await speak(bench, "3")
    assert.equal((await speak(bench, "4")).lastInputTokens, 15)
  })
})
