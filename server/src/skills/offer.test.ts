import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { test } from "node:test"
import { hostBinaries } from "./binaries.ts"
import { parseSkillMd } from "./frontmatter.ts"
import { offer } from "./offer.ts"

const NOTHING = { secrets: new Set<string>(), binaries: new Set<string>() }
const offered = (metadata: string, around = NOTHING, more = "") => {
  const text = `---\nname: a\ndescription: x\nmetadata: {openclaw: ${metadata}}\n${more}---\n`
  return offer({ header: parseSkillMd(Buffer.from(text)), quarantine: null }, around)
}

test("a skill for another system is not offered, not even one that is always", () => {
  for (const metadata of ["{os: [darwin]}", "{os: [macos, windows], always: true}"]) {
    const { state, listed, missing, reason } = offered(metadata)
    assert.deepEqual([state, listed, missing.length], ["incomplete", false, 1])
    assert.match(reason ?? "", /another system/)
  }
  assert.equal(offered("{os: [darwin, linux]}").state, "active")
})

test("a skill that is always offered does not ask for secrets or programs", () => {
  const needs = "requires: {env: [A], bins: [b], anyBins: [c], config: [d]}"
  assert.deepEqual(offered(`{${needs}}`).missing, ["A", "config:d", "b", "c"])
  assert.deepEqual(offered(`{always: true, ${needs}}`), { state: "active", missing: [], reason: null, listed: true })
})

test("all of bins and one of anyBins must be there", () => {
  const metadata = "{requires: {bins: [git, tar], anyBins: [rg, grep]}}"
  const withBinaries = (...names: string[]) => offered(metadata, { ...NOTHING, binaries: new Set(names) }).missing
  assert.deepEqual(withBinaries("git"), ["tar", "rg|grep"])
  assert.deepEqual(withBinaries("git", "tar", "grep"), [])
})

test("a secret counts in whatever case the skill writes it; a provider's key never does, and the reason says why", () => {
  const around = { ...NOTHING, secrets: new Set(["GITHUB_TOKEN"]) }
  assert.deepEqual(offered("{requires: {env: [github_token]}}", around).missing, [])
  assert.match(offered("{requires: {env: [OPENAI_API_KEY]}}").reason ?? "", /OPENAI_API_KEY, which is never given/)
})

test("what asks not to be offered to the model is not listed, and says so", () => {
  const { state, listed, reason } = offered("{}", NOTHING, "disable-model-invocation: true\n")
  assert.deepEqual([state, listed, reason], ["active", false, "it asks not to be offered to the model"])
})

test("the programs of a sandbox are those that everybody may run from its PATH", async () => {
  const found = await hostBinaries({ now: () => 0 }, "sandbox")()
  for (const name of ["sh", "node", "cat"]) assert.ok(found.has(name), name)
  for (const name of ["no-such-program", "", ".", "sh "]) assert.ok(!found.has(name), name)
  const path = { env: { PATH: "/usr/bin:/bin" }, encoding: "utf8" } as const
  const known = execFileSync("/bin/bash", ["--norc", "-c", "compgen -c | sort -u; true"], path).split("\n")
  const builtIn = new Set(execFileSync("/bin/bash", ["--norc", "-c", "compgen -bk"], path).split("\n"))
  const missed = known.filter((name) => name !== "" && !builtIn.has(name) && !found.has(name))
  // Bash names also what only root may run, or what leads out of /usr.
  assert.ok(missed.length < known.length / 20, missed.join(" "))
})
