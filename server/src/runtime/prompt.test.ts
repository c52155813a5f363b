import assert from "node:assert/strict"
import { test } from "node:test"
import { loadPi } from "./pi/load.ts"
import { buildPrompt } from "./prompt.ts"
import type { PromptParts } from "./protocol.ts"

const pi = await loadPi()
const format = (skills: PromptParts["skills"]) =>
  pi.formatSkillsForSystemPrompt(
    skills.map(({ name, description, path }) => ({ name, description, filePath: path, content: "" })),
  )

const parts: PromptParts = {
  agentName: "ada",
  agentDescription: "Writes reports.",
  soul: "SOUL-TEXT",
  user: "USER-TEXT",
  tools: "TOOLS-TEXT",
  memory: "MEMORY-TEXT",
  skills: [
    { name: "zip", description: "Packs <files>", path: "/skills/zip/SKILL.md" },
    { name: "csv", description: "Reads tables", path: "/skills/csv/SKILL.md" },
  ],
  instruction: "INSTRUCTION-TEXT",
}

test("the prompt goes from the steadiest part to the most changing", () => {
  const prompt = buildPrompt(parts, format)
  const order = [
    "Autonomis",
    "SOUL-TEXT",
    "TOOLS-TEXT",
    "USER-TEXT",
    "name is ada",
    "<name>csv",
    "<name>zip",
    "MEMORY-TEXT",
    "INSTRUCTION-TEXT",
  ]
  const places = order.map((text) => prompt.indexOf(text))
  assert.ok(
    places.every((place) => place >= 0),
    prompt,
  )
  assert.deepEqual(
    places,
    places.toSorted((a, b) => a - b),
  )
})

test("the same parts give the same bytes, in whatever order the skills come", () => {
  const turned = { ...parts, skills: [...parts.skills].reverse() }
  assert.equal(buildPrompt(turned, format), buildPrompt(structuredClone(parts), format))
})

test("a change of memory leaves all before it as it was", () => {
  const before = buildPrompt(parts, format)
  const after = buildPrompt({ ...parts, memory: "SOMETHING ELSE" }, format)
  const same = [...before].findIndex((letter, index) => letter !== after[index])
  assert.ok(same > before.indexOf("<memory>"))
})

test("what is empty leaves no trace", () => {
  const bare = buildPrompt({ ...parts, user: " ", memory: "", skills: [], instruction: null }, format)
  for (const trace of ["<user>", "<memory>", "skills provide", "<instruction>", "\n\n\n"])
    assert.ok(!bare.includes(trace), trace)
})
