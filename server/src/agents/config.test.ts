import assert from "node:assert/strict"
import { test } from "node:test"
import { AgentConfig, type AgentConfigPatch, DEFAULT_CONFIG } from "@autonomis/contract/agents.ts"
import fc from "fast-check"
import { fullConfig, mergeConfig, storedConfig } from "./config.ts"

/** RFC 7396, as its section 2 writes it. */
function mergePatch(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch
  const isObject = typeof target === "object" && target !== null && !Array.isArray(target)
  const result: Record<string, unknown> = isObject ? { ...target } : {}
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name]
    else result[name] = mergePatch(result[name], value)
  }
  return result
}

const orNull = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: null })
const tools = fc.record(
  { bash: orNull(fc.boolean()), read: orNull(fc.boolean()), write: orNull(fc.boolean()), edit: orNull(fc.boolean()) },
  { requiredKeys: [] },
)
const patch: fc.Arbitrary<AgentConfigPatch> = fc.record(
  {
    model: orNull(fc.constantFrom("demo/demo", "openai/gpt-5.4")),
    thinking: orNull(fc.constantFrom("off", "low", "high")),
    max_turns: orNull(fc.integer({ min: 1, max: 1000 })),
    max_output_tokens: orNull(fc.integer({ min: 256, max: 100_000 })),
    tools: orNull(tools),
    network: orNull(fc.constantFrom("egress", "none")),
    network_allow: orNull(fc.subarray(["a.test", "b.test"], { minLength: 1 })),
    network_deny: orNull(fc.subarray(["a.test", "c.test"])),
  },
  { requiredKeys: [] },
)

test("patches in any order of any form merge as RFC 7396 says, and answers have every default filled in", () => {
  fc.assert(
    fc.property(fc.array(patch, { maxLength: 8 }), (patches) => {
      let set: AgentConfigPatch = {}
      let model: unknown = {}
      for (const one of patches) {
        set = storedConfig(JSON.stringify(mergeConfig(set, one)))
        model = mergePatch(model, one)
      }
      const shown = fullConfig(set)
      assert.deepEqual(shown, mergePatch(DEFAULT_CONFIG, model))
      assert.ok(AgentConfig.safeParse(shown).success)
    }),
    { numRuns: 500 },
  )
})

test("a stored setting that this program does not know is left out, and the others stand", () => {
  assert.deepEqual(storedConfig('{"max_turns":7,"web_search":{},"network":"all","thinking":"extreme"}'), {
    max_turns: 7,
  })
  assert.deepEqual(storedConfig("[]"), {})
  assert.deepEqual(storedConfig("null"), {})
})
