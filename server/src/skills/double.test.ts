import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { test } from "node:test"
import { fileURLToPath } from "node:url"
import { freshSqlite } from "../../../test/databases.ts"
import { startRegistryDouble } from "../../../test/doubles/clawhub/registry.ts"
import { NO_SIGNAL, ORIGIN, skillsUnderTest } from "../../../test/skills.ts"

/** The registry's own client, as published. */
const CLIENT = join(dirname(fileURLToPath(import.meta.resolve("clawhub/package.json"))), "bin/clawdhub.js")

function clientIn(folder: string, registry: string) {
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    CLAWHUB_REGISTRY: registry,
    CLAWHUB_SITE: registry,
    NO_COLOR: "1",
  }
  return (...args: string[]) =>
    new Promise<{ code: number; said: string }>((resolve) => {
      execFile(process.execPath, [CLIENT, ...args], { cwd: folder, env, timeout: 60_000 }, (error, stdout, stderr) => {
        resolve({ code: typeof error?.code === "number" ? error.code : error === null ? 0 : -1, said: stdout + stderr })
      })
    })
}

test("the double is a registry to the official client, which installs from it the very files that we do", async () => {
  await using registry = await startRegistryDouble()
  const folder = mkdtempSync(join(tmpdir(), "autonomis-clawhub-"))
  try {
    const client = clientIn(folder, registry.url)
    const version = await client("--cli-version")
    assert.match(version.said, /^0\.23\.\d+/)
    const found = await client("search", "hello")
    assert.match(found.said, /hello-world v1\.0\.0 {2}@acme/)
    const installed = await client("install", "@acme/hello-world")
    assert.deepEqual([installed.code, /Installed hello-world v1\.0\.0/.test(installed.said)], [0, true], installed.said)
    assert.notEqual((await client("install", "malware")).code, 0)
    const ambiguous = await client("install", "twin")
    assert.deepEqual([ambiguous.code, /@beta\/twin/.test(ambiguous.said)], [1, true], ambiguous.said)
    registry.publish("acme", "hello-world", "1.1.0")
    assert.match((await client("update", "--all")).said, /Updated @acme\/hello-world -> v1\.1\.0/)

    await using db = await freshSqlite()
    using under = await skillsUnderTest({ db, registryUrl: registry.url })
    const { skill } = await under.skills.install(under.user, "hello-world", {}, ORIGIN, NO_SIGNAL)
    assert.equal(skill.version, "1.1.0")
    const { source } = await under.skills.mount(under.user.id)
    for (const path of skill.files) {
      const theirs = readFileSync(join(folder, "skills/@acme/hello-world", path))
      assert.deepEqual(readFileSync(join(source, "hello-world", path)), theirs, path)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

test("the official client installs what was tampered with; we do not", async () => {
  await using registry = await startRegistryDouble()
  registry.tamper(true)
  const folder = mkdtempSync(join(tmpdir(), "autonomis-clawhub-"))
  try {
    assert.equal((await clientIn(folder, registry.url)("install", "@acme/hello-world")).code, 0)
    await using db = await freshSqlite()
    using under = await skillsUnderTest({ db, registryUrl: registry.url })
    await assert.rejects(under.skills.install(under.user, "hello-world", {}, ORIGIN, NO_SIGNAL), /hash/)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
