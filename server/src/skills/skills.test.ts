import assert from "node:assert/strict"
import { mkdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { forEachDatabase } from "../../../test/databases.ts"
import { NO_SIGNAL, ORIGIN, type SkillsUnderTest, skillsUnderTest } from "../../../test/skills.ts"
import { makeZip, skillMd } from "../../../test/zip.ts"
import type { Database } from "../db/database.ts"
import { AppError } from "../lib/errors.ts"

const REQUIRES = "metadata:\n  openclaw:\n    requires:\n      env: [GITHUB_TOKEN]\n      bins: [sh, ffmpeg]\n"

forEachDatabase((_name, open) => {
  const withSkills = (what: string, check: (under: SkillsUnderTest, db: Database) => Promise<void>) =>
    test(what, async () => {
      await using db = await open()
      using under = await skillsUnderTest({ db })
      await check(under, db)
    })

  withSkills("an uploaded SKILL.md is listed, readable and offered by name, description and path alone", async (u) => {
    const text = skillMd("greeter", "license: MIT\n", "Greets people. Use when asked for a greeting.")
    const { skill, created } = await u.upload("greeter", text)
    assert.equal(created, true)
    assert.deepEqual(await u.skills.list(u.user, NO_SIGNAL), [skill])
    const { sha256, ...rest } = skill
    assert.match(sha256, /^[0-9a-f]{64}$/)
    assert.deepEqual(rest, {
      id: "greeter",
      name: "greeter",
      description: "Greets people. Use when asked for a greeting.",
      source: "upload",
      owner: null,
      version: null,
      latest_version: null,
      size_bytes: Buffer.byteLength(text),
      files: ["SKILL.md"],
      requires: { env: [], bins: [] },
      missing: [],
      state: "active",
      reason: null,
      installed_at: "2026-03-01T12:00:00.000Z",
      provenance: null,
    })
    assert.equal((await u.skills.read(u.user, "greeter")).toString(), text)
    assert.deepEqual(await u.skills.forPrompt(u.user.id, u.agentId), [
      { name: "greeter", description: skill.description, path: "/skills/greeter/SKILL.md" },
    ])
  })

  withSkills("a bundle keeps its scripts executable, drops desktop litter, and may lie in one folder", async (u) => {
    const zip = makeZip([
      { name: "greeter/", mode: 0o040755 },
      { name: "greeter/SKILL.md", data: skillMd("greeter"), deflate: true },
      { name: "greeter/scripts/hi.sh", data: "#!/bin/sh\necho hi\n", deflate: true },
      { name: "greeter/tool", data: "echo hi\n", mode: 0o100755 },
      { name: "greeter/notes.txt", data: "notes", mode: 0o100600 },
      { name: "__MACOSX/greeter/._SKILL.md", data: "litter" },
      { name: "greeter/.DS_Store", data: "litter" },
    ])
    const { skill } = await u.upload("greeter", zip)
    assert.deepEqual(skill.files, ["SKILL.md", "notes.txt", "scripts/hi.sh", "tool"])
    const { source } = await u.skills.mount(u.user.id)
    const mode = (path: string) => statSync(join(source, "greeter", path)).mode & 0o777
    assert.deepEqual(skill.files.map(mode), [0o644, 0o644, 0o755, 0o755])
    assert.equal(readFileSync(join(source, "greeter/scripts/hi.sh"), "utf8"), "#!/bin/sh\necho hi\n")
  })

  withSkills("an update takes the old version's place in the mounted folder, which itself stays", async (u) => {
    const { source } = await u.skills.mount(u.user.id)
    const folder = statSync(source).ino
    await u.upload(
      "greeter",
      makeZip([
        { name: "SKILL.md", data: skillMd("greeter") },
        { name: "a.txt", data: "1" },
      ]),
    )
    const before = await u.skills.version(u.user.id, u.agentId)
    const first = readlinkSync(join(source, "greeter"))
    const { created, skill } = await u.upload("greeter", skillMd("greeter", "", "Another description."))
    assert.equal(created, false)
    assert.deepEqual(skill.files, ["SKILL.md"])
    assert.equal(statSync(source).ino, folder)
    assert.notEqual(readlinkSync(join(source, "greeter")), first)
    assert.deepEqual((await u.files()).map((path) => path.split("/").at(-1)).sort(), ["SKILL.md", "greeter"])
    assert.notEqual(await u.skills.version(u.user.id, u.agentId), before)
  })

  withSkills("a deleted skill is gone from list, prompt, mount and storage", async (u, db) => {
    await u.upload("greeter", skillMd("greeter"))
    assert.ok((await u.skills.bytes(u.user.id)) > 0)
    await u.skills.remove(u.user, "greeter", ORIGIN)
    assert.deepEqual(await u.skills.list(u.user, NO_SIGNAL), [])
    assert.deepEqual(await u.skills.forPrompt(u.user.id, u.agentId), [])
    assert.deepEqual(await u.files(), [])
    assert.equal(await u.skills.bytes(u.user.id), 0)
    await assert.rejects(u.skills.remove(u.user, "greeter", ORIGIN), code("not_found"))
    await assert.rejects(u.skills.read(u.user, "greeter"), code("not_found"))
    const audit = await db.read.selectFrom("audit").select(["action", "target"]).orderBy("id").execute()
    assert.deepEqual(audit.map((row) => `${row.action} ${row.target}`).sort(), [
      "skills.delete skill:ada/greeter",
      "skills.upload skill:ada/greeter",
    ])
  })

  withSkills("a skill that lacks something says what, is not offered, and is as soon as it is there", async (u) => {
    const { skill } = await u.upload("video", skillMd("video", REQUIRES))
    assert.deepEqual(skill.requires, { env: ["GITHUB_TOKEN"], bins: ["sh", "ffmpeg"] })
    assert.deepEqual(skill.missing, ["GITHUB_TOKEN", "ffmpeg"])
    assert.equal(skill.state, "incomplete")
    assert.equal(skill.reason, "it needs the secret GITHUB_TOKEN, the program ffmpeg")
    assert.deepEqual(await u.skills.forPrompt(u.user.id, u.agentId), [])
    const before = await u.skills.version(u.user.id, u.agentId)
    u.secrets.add("GITHUB_TOKEN")
    u.programs.add("ffmpeg")
    assert.equal((await u.skills.list(u.user, NO_SIGNAL))[0]?.state, "active")
    assert.equal((await u.skills.forPrompt(u.user.id, u.agentId)).length, 1)
    assert.notEqual(await u.skills.version(u.user.id, u.agentId), before)
  })

  withSkills("every change makes the sessions of the user's agents take a new prompt", async (u, db) => {
    const version = async () => {
      const row = await db.read.selectFrom("agents").select("prompt_version").executeTakeFirstOrThrow()
      return row.prompt_version
    }
    await u.upload("greeter", skillMd("greeter"))
    await u.upload("greeter", skillMd("greeter", "", "Other."))
    await u.skills.remove(u.user, "greeter", ORIGIN)
    assert.equal(await version(), 3)
  })

  withSkills("a user who is gone gets nothing written, on disk neither", async (u, db) => {
    await db.kysely.updateTable("users").set({ state: "deleting", name: null }).execute()
    rmSync(join(u.dataDir, "users"), { recursive: true, force: true })
    await assert.rejects(u.upload("greeter", skillMd("greeter")), code("not_found"))
    assert.deepEqual(await u.files(), [])
    assert.throws(() => statSync(join(u.dataDir, "users", u.user.id)), /ENOENT/)
  })

  withSkills("storage that does not fit the plan is refused, and nothing of it stays", async (_u, db) => {
    const asked: number[] = []
    const refuse = async (_user: string, more: number) => {
      asked.push(more)
      if (more > 1000) throw new AppError("plan_limit", "no room")
    }
    using u = await skillsUnderTest({ db, ensureStorage: refuse })
    const small = makeZip([{ name: "SKILL.md", data: skillMd("greeter") }])
    await u.upload("greeter", small)
    const standing = await u.files()
    const big = makeZip([
      { name: "SKILL.md", data: skillMd("greeter") },
      { name: "big", data: "x".repeat(2000) },
    ])
    await assert.rejects(u.upload("greeter", big), code("plan_limit"))
    assert.deepEqual(await u.files(), standing)
    // Only what is more than before counts.
    assert.deepEqual(asked, [Buffer.byteLength(skillMd("greeter")), 2000])
  })

  withSkills("a user has 200 skills at most", async (u, db) => {
    await u.upload("s-0", skillMd("s-0"))
    const row = await db.read.selectFrom("skills").selectAll().executeTakeFirstOrThrow()
    const more = Array.from({ length: 199 }, (_, i) => ({ ...row, id: `skl_${i}`, slug: `s-${i + 1}` }))
    await db.kysely.insertInto("skills").values(more).execute()
    await assert.rejects(u.upload("one-more", skillMd("one-more")), code("plan_limit"))
    assert.equal((await u.upload("s-7", skillMd("s-7"))).created, false)
    assert.equal((await u.skills.list(u.user, NO_SIGNAL)).length, 200)
    await u.skills.remove(u.user, "s-9", ORIGIN)
    assert.equal((await u.upload("one-more", skillMd("one-more"))).created, true)
  })

  withSkills("updates at the same time leave one of them whole", async (u) => {
    const versions = Array.from({ length: 8 }, (_, i) => skillMd("greeter", "", `Version ${i}.`))
    await Promise.all(versions.map((text) => u.upload("greeter", text)))
    const { source } = await u.skills.mount(u.user.id)
    const [skill] = await u.skills.list(u.user, NO_SIGNAL)
    const text = readFileSync(join(source, "greeter/SKILL.md"), "utf8")
    assert.ok(versions.includes(text))
    assert.ok(text.includes(skill?.description ?? "?"))
    assert.equal((await u.files()).length, 2)
  })

  withSkills("what a crash left is mended at the next start: rows decide, the rest goes", async (u, db) => {
    await u.upload("greeter", skillMd("greeter"))
    await u.upload("other", skillMd("other"))
    const { source } = await u.skills.mount(u.user.id)
    const standing = await u.files()
    const root = join(source, "..")
    // A crash while receiving, after a bundle was placed, and between a row and its link.
    mkdirSync(join(root, "staging/dead/bundle"), { recursive: true })
    writeFileSync(join(root, "staging/dead/body"), "half")
    mkdirSync(join(source, ".bundles/bdl_orphan"))
    writeFileSync(join(source, ".bundles/bdl_orphan/SKILL.md"), "orphan")
    symlinkSync(".bundles/bdl_orphan", join(source, ".link-dead"))
    rmSync(join(source, "greeter"))
    symlinkSync(".bundles/bdl_orphan", join(source, "greeter"))
    rmSync(join(source, "other"))
    using next = await skillsUnderTest({ db, dataDir: u.dataDir })
    await next.skills.sweep(NO_SIGNAL)
    assert.deepEqual(await u.files(), standing)
    assert.equal(readFileSync(join(source, "greeter/SKILL.md"), "utf8"), skillMd("greeter"))
    assert.equal(readFileSync(join(source, "other/SKILL.md"), "utf8"), skillMd("other"))
  })

  withSkills("without a sandbox the model is told where the skills are on the host", async (_u, db) => {
    using u = await skillsUnderTest({ db, seenIn: "host" })
    await u.upload("greeter", skillMd("greeter"))
    const [skill] = await u.skills.forPrompt(u.user.id, u.agentId)
    assert.equal(readFileSync(skill?.path ?? "", "utf8"), skillMd("greeter"))
    const { source, target } = await u.skills.mount(u.user.id)
    assert.equal(source, target)
  })

  withSkills("one user's skills are nobody else's", async (u) => {
    await u.upload("greeter", skillMd("greeter"))
    const eve = { id: "usr_eve", name: "eve" }
    assert.deepEqual(await u.skills.list(eve, NO_SIGNAL), [])
    assert.deepEqual(await u.skills.forPrompt(eve.id, u.agentId), [])
    await assert.rejects(u.skills.read(eve, "greeter"), code("not_found"))
    await assert.rejects(u.skills.remove(eve, "greeter", ORIGIN), code("not_found"))
    assert.notEqual((await u.skills.mount(eve.id)).source, (await u.skills.mount(u.user.id)).source)
  })

  withSkills("a message calls a skill by /name only where its author and the platform allow it", async (u) => {
    await u.upload("greeter", skillMd("greeter", "disable-model-invocation: true\n"))
    await u.upload("hidden", skillMd("hidden", "user-invocable: false\n"))
    await u.upload("video", skillMd("video", REQUIRES))
    const called = async (text: string) => (await u.skills.called(u.user.id, u.agentId, text))?.path ?? null
    assert.equal(await called("/greeter say hello"), "/skills/greeter/SKILL.md")
    assert.equal(await called("/greeter"), "/skills/greeter/SKILL.md")
    for (const text of ["/hidden", "/video", "/unknown", "greeter", "say /greeter", "/greeterx"])
      assert.equal(await called(text), null, text)
    const listed = (await u.skills.forPrompt(u.user.id, u.agentId)).map((skill) => skill.name)
    assert.deepEqual(listed, ["hidden"])
    const greeter = (await u.skills.list(u.user, NO_SIGNAL)).find((skill) => skill.id === "greeter")
    assert.deepEqual([greeter?.state, greeter?.reason], ["active", "it asks not to be offered to the model"])
  })
})

const code = (expected: string) => (error: unknown) => {
  assert.ok(error instanceof AppError, String(error))
  assert.equal(error.code, expected, error.message)
  return true
}
