import assert from "node:assert/strict"
import { test } from "node:test"
import { AppError } from "../lib/errors.ts"
import { parseSkillMd } from "./frontmatter.ts"

const parse = (...lines: string[]) => parseSkillMd(Buffer.from(`---\n${lines.join("\n")}\n---\n\nBody.\n`))
const named = (...lines: string[]) => parse("name: greeter", "description: Greets.", ...lines)
const because = (words: string) => (error: unknown) => {
  assert.ok(error instanceof AppError && error.status === 400, String(error))
  assert.ok(error.message.includes(words), error.message)
  return true
}

test("every field of the standard and of OpenClaw is read", () => {
  const header = named(
    "license: Apache-2.0",
    "compatibility: Needs git",
    "homepage: https://example.com",
    "allowed-tools: Bash(git:*) Read",
    "user-invocable: false",
    "disable-model-invocation: true",
    "metadata:",
    "  author: ada",
    "  openclaw:",
    "    always: true",
    '    emoji: "👋"',
    "    primaryEnv: GITHUB_TOKEN",
    "    os: [linux, macos, windows]",
    "    requires: { bins: [git], anyBins: [rg, grep], env: [GITHUB_TOKEN], config: [browser.enabled] }",
    "    install:",
    "      - { id: brew, kind: brew, formula: git, label: Install git }",
  )
  assert.deepEqual(header, {
    name: "greeter",
    description: "Greets.",
    license: "Apache-2.0",
    compatibility: "Needs git",
    homepage: "https://example.com",
    allowedTools: ["Bash(git:*)", "Read"],
    userInvocable: false,
    disableModelInvocation: true,
    always: true,
    emoji: "👋",
    primaryEnv: "GITHUB_TOKEN",
    os: ["linux", "darwin", "win32"],
    requires: { bins: ["git"], anyBins: ["rg", "grep"], env: ["GITHUB_TOKEN"], config: ["browser.enabled"] },
    install: [{ id: "brew", kind: "brew", label: "Install git" }],
  })
})

test("what is left out has its default", () => {
  const { userInvocable, disableModelInvocation, always, os, requires, allowedTools } = named()
  assert.deepEqual([userInvocable, disableModelInvocation, always], [true, false, false])
  assert.deepEqual([os, allowedTools], [[], []])
  assert.deepEqual(requires, { bins: [], anyBins: [], env: [], config: [] })
})

test("metadata means the same in block form, in one line of flow, as JSON, in quotes, and under its older names", () => {
  const forms = [
    ["metadata:", "  openclaw:", "    requires:", "      env:", "        - A_TOKEN"],
    ["metadata: {openclaw: {requires: {env: [A_TOKEN]}}}"],
    ['metadata: {"openclaw":{"requires":{"env":["A_TOKEN"]}}}'],
    [`metadata: '{"openclaw":{"requires":{"env":["A_TOKEN"]}}}'`],
    ["metadata:", `  openclaw: '{"requires":{"env":["A_TOKEN"]}}'`],
    ["metadata: {clawdbot: {requires: {env: A_TOKEN}}}"],
    ["metadata: {clawdis: {requires: {env: [A_TOKEN]}}}"],
  ]
  for (const form of forms) assert.deepEqual(named(...form).requires.env, ["A_TOKEN"], form.join("\n"))
})

test("flags are read as YAML's own and as words, and nothing else is one", () => {
  for (const yes of ["true", "yes", '"true"', "on", "1"])
    assert.equal(named(`disable-model-invocation: ${yes}`).disableModelInvocation, true, yes)
  for (const no of ["false", "no", '"false"', "off", "0"])
    assert.equal(named(`user-invocable: ${no}`).userInvocable, false, no)
  assert.throws(() => named("user-invocable: maybe"), because("user-invocable"))
  assert.throws(() => named("metadata: {openclaw: {always: [1]}}"), because("metadata.openclaw.always"))
})

test("a byte order mark, Windows line ends and a folded description are no trouble", () => {
  const text =
    "\ufeff---\r\nname: greeter\r\ndescription: >\r\n  Greets people.\r\n  Use when asked.\r\n---\r\nBody\r\n"
  assert.equal(parseSkillMd(Buffer.from(text)).description, "Greets people. Use when asked.")
})

test("what is not as it must be is refused with the field's name", () => {
  const refused: [string[], string][] = [
    [["description: x"], "name: is missing"],
    [["name: a"], "description: is missing"],
    [["name: A", "description: x"], "name: "],
    [["name: a--b", "description: x"], "name: "],
    [[`name: ${"a".repeat(65)}`, "description: x"], "name: "],
    [["name: 5", "description: x"], "name: must be text"],
    [["name: a", 'description: ""'], "description: must not be empty"],
    [["name: a", `description: ${"x".repeat(1025)}`], "description: at most 1024"],
    [["name: a", 'description: "\\e[2J"'], "description: must hold no control characters"],
    [["name: a", 'description: "a\\u202Eb"'], "description: must hold no control characters"],
    [["name: a", "description: x", `compatibility: ${"x".repeat(501)}`], "compatibility: "],
    [["name: a", "description: x", "metadata: [1]"], "metadata: "],
    [["name: a", "description: x", "metadata: {openclaw: {requires: {bins: [../../bin/sh]}}}"], "requires.bins"],
    [["name: a", "description: x", "metadata: {openclaw: {requires: {env: ['A B']}}}"], "requires.env"],
    [["name: a", "description: one: two"], "is not YAML"],
    [["name: a", "name: b", "description: x"], "is not YAML"],
    [["- a"], "the frontmatter"],
    [["a: &a [x,x,x,x,x]", "b: &b [*a,*a,*a,*a]", "c: &c [*b,*b,*b,*b]", "d: [*c,*c,*c,*c]"], "cannot be read"],
    [[`x: ${"[".repeat(8000)}`], "nested too deep"],
    [[`x: ${"y".repeat(20_000)}`], "over 16 KiB"],
  ]
  for (const [lines, words] of refused)
    assert.throws(() => parse(...lines), because(words), lines.join("\n").slice(0, 80))
})

test("a file without frontmatter, or one that is not text, is refused", () => {
  const refused: [Buffer, string][] = [
    [Buffer.from(""), "must begin with a line ---"],
    [Buffer.from("# Greeter\n"), "must begin with a line ---"],
    [Buffer.from("---\nname: a\n"), "no closing line"],
    [Buffer.from("---\nname: a\ndescription: x\n----\n"), "no closing line"],
    [Buffer.from([0x2d, 0x2d, 0x2d, 0x0a, 0xff, 0xfe]), "not UTF-8"],
    [Buffer.from("---\nname: a\0\n---\n"), "NUL"],
    [Buffer.alloc(2 * 1024 * 1024, "x"), "it is over 1024 KiB"],
  ]
  for (const [data, words] of refused) assert.throws(() => parseSkillMd(data), because(words))
})
