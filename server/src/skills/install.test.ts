import assert from "node:assert/strict"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { forEachDatabase } from "../../../test/databases.ts"
import { type Skill as Published, publishedFile, release } from "../../../test/doubles/clawhub/catalogue.ts"
import { type RegistryDouble, startRegistryDouble } from "../../../test/doubles/clawhub/registry.ts"
import { NO_SIGNAL, ORIGIN, type SkillsUnderTest, skillsUnderTest, stagingOf } from "../../../test/skills.ts"
import { skillMd } from "../../../test/zip.ts"
import type { Database } from "../db/database.ts"
import { AppError } from "../lib/errors.ts"
import type { InstallRequest } from "./install.ts"

interface Under extends SkillsUnderTest {
  db: Database
  registry: RegistryDouble
  install(slug: string, request?: InstallRequest): Promise<Awaited<ReturnType<SkillsUnderTest["skills"]["install"]>>>
  published(slug: string): Published
}

forEachDatabase((name, open) => {
  const withRegistry = (what: string, check: (under: Under) => Promise<void>, budgetMs = 10_000) =>
    test(what, async () => {
      await using db = await open()
      await using registry = await startRegistryDouble()
      using under = await skillsUnderTest({ db, registryUrl: registry.url, budgetMs })
      await check({
        ...under,
        db,
        registry,
        install: (slug, request = {}) => under.skills.install(under.user, slug, request, ORIGIN, NO_SIGNAL),
        published(slug) {
          const found = registry.skills.find((skill) => skill.slug === slug)
          assert.ok(found)
          return found
        },
      })
    })

  withRegistry("an installed skill is pinned, whole, mounted, and says where it came from", async (u) => {
    const { skill, created } = await u.install("hello-world")
    assert.equal(created, true)
    assert.equal(skill.source, "clawhub")
    assert.equal(skill.owner, "acme")
    assert.equal(skill.version, "1.0.0")
    assert.equal(skill.latest_version, "1.0.0")
    assert.deepEqual(skill.files, ["SKILL.md", "references/NOTES.md", "scripts/hello.sh"])
    assert.deepEqual(skill.provenance, {
      registry: u.registry.url,
      verdict: "clean",
      reasons: [],
      checked_at: "2026-03-01T12:00:00.000Z",
      risk_accepted: false,
    })
    const { source } = await u.skills.mount(u.user.id)
    assert.equal(readFileSync(join(source, "hello-world/scripts/hello.sh"), "utf8"), "#!/bin/sh\necho hello 1.0.0\n")
    // The hash is the registry's own, so that it can be looked up there.
    const resolved = await fetch(`${u.registry.url}/api/v1/resolve?slug=hello-world&hash=${skill.sha256}`)
    assert.deepEqual(await resolved.json(), {
      slug: "hello-world",
      match: { version: "1.0.0" },
      latestVersion: { version: "1.0.0" },
    })
    const asked = u.registry.log.map((request) => request.url.replace(/\?.*/, ""))
    assert.deepEqual(asked.slice(0, 5), [
      "/.well-known/clawhub.json",
      "/api/v1/skills/hello-world",
      "/api/v1/skills/-/security-verdicts",
      "/api/v1/skills/hello-world/versions/1.0.0",
      "/api/v1/download",
    ])
  })

  withRegistry("a list says what has a newer version, and installing again updates", async (u) => {
    await u.install("hello-world")
    u.registry.publish("acme", "hello-world", "1.1.0")
    const [listed] = await u.skills.list(u.user, NO_SIGNAL)
    assert.deepEqual([listed?.version, listed?.latest_version], ["1.0.0", "1.1.0"])
    const { skill, created } = await u.install("hello-world")
    assert.deepEqual([created, skill.version, skill.latest_version], [false, "1.1.0", "1.1.0"])
    const { source } = await u.skills.mount(u.user.id)
    assert.match(readFileSync(join(source, "hello-world/SKILL.md"), "utf8"), /Hello 1\.1\.0/)
    assert.equal(readdirSync(join(source, ".bundles")).length, 1)
    const back = await u.install("hello-world", { version: "1.0.0" })
    assert.deepEqual([back.skill.version, back.skill.latest_version], ["1.0.0", "1.1.0"])
  })

  withRegistry("what is unknown is 404: a skill, a version, a publisher", async (u) => {
    await assert.rejects(u.install("no-such-skill"), code("not_found"))
    await assert.rejects(u.install("hello-world", { version: "9.9.9" }), code("not_found"))
    await assert.rejects(u.install("hello-world", { owner: "beta" }), code("not_found"))
  })

  withRegistry("a slug of two publishers is 409 with the matches, until the owner is named", async (u) => {
    await assert.rejects(u.install("twin"), (error) => {
      code("ambiguous_skill")(error)
      assert.deepEqual((error as AppError).extra?.matches, [
        { owner: "acme", slug: "twin", url: `${u.registry.url}/acme/skills/twin` },
        { owner: "beta", slug: "twin", url: `${u.registry.url}/beta/skills/twin` },
      ])
      return true
    })
    const { skill } = await u.install("twin", { owner: "beta" })
    assert.deepEqual([skill.owner, skill.version], ["beta", "0.2.0"])
    await assert.rejects(u.install("twin", { owner: "acme" }), code("conflict"))
    // The one that stands needs no word about whose it is.
    assert.equal((await u.install("twin")).created, false)
  })

  withRegistry("an id that stands from an upload is 409, and so is an upload over an installed skill", async (u) => {
    await u.upload("hello-world", skillMd("hello-world"))
    await assert.rejects(u.install("hello-world"), code("conflict"))
    await u.skills.remove(u.user, "hello-world", ORIGIN)
    await u.install("hello-world")
    await assert.rejects(u.upload("hello-world", skillMd("hello-world")), code("conflict"))
  })

  withRegistry("suspicious, pending and unjudged skills need a word of the user, which is audited", async (u) => {
    const errored = u.published("pending")
    for (const status of ["suspicious", "pending", "error"] as const) {
      for (const version of errored.versions) version.status = status
      await assert.rejects(u.install("pending"), (error) => {
        code("needs_accept_risk")(error)
        const { verdict } = (error as AppError).extra as { verdict: { status: string } }
        assert.equal(verdict.status, status)
        return true
      })
    }
    assert.deepEqual(await u.files(), [])
    const { skill } = await u.install("risky", { accept_risk: true })
    assert.equal(skill.provenance?.verdict, "suspicious")
    assert.equal(skill.provenance?.risk_accepted, true)
    const audit = await u.db.read.selectFrom("audit").select(["action", "target"]).execute()
    assert.deepEqual(audit.map((row) => `${row.action}: ${row.target}`).sort(), [
      "skills.accept_risk: skill:ada/risky acme/risky@1.0.0 (suspicious)",
      "skills.install: skill:ada/risky acme/risky@1.0.0",
    ])
  })

  withRegistry("malware is never installed, whatever is accepted and wherever it is said", async (u) => {
    await assert.rejects(u.install("malware", { accept_risk: true }), code("malware"))
    // Known to the gate and to the version's own scan alone.
    const hello = u.published("hello-world")
    hello.versions.push(release("0.9.0", hello.versions[0]?.files ?? [], { status: "malicious" }))
    hello.versions.reverse()
    await assert.rejects(u.install("hello-world", { version: "0.9.0", accept_risk: true }), code("malware"))
    assert.ok(!u.registry.log.some((request) => request.url.startsWith("/api/v1/download")))
    assert.deepEqual(await u.files(), [])
  })

  withRegistry("a file that is not as published, one too many or one too few is refused", async (u) => {
    u.registry.tamper(true)
    await assert.rejects(u.install("hello-world"), refusedBecause("scripts/hello.sh does not have the hash"))
    u.registry.tamper(false)
    const version = u.published("hello-world").versions[0]
    assert.ok(version)
    version.stowaways = { "extra.sh": "echo extra" }
    await assert.rejects(u.install("hello-world"), refusedBecause("extra.sh, which the registry did not publish"))
    version.stowaways = {}
    const { published } = u
    const served = published("hello-world")
    const files = version.files
    // The list is read first, the archive after: by then a file is gone.
    u.registry.skills.splice(u.registry.skills.indexOf(served), 1, {
      ...served,
      versions: [
        {
          ...version,
          get files() {
            return u.registry.log.some((request) => request.url.includes("/versions/1.0.0?"))
              ? files.slice(0, 2)
              : files
          },
        },
      ],
    })
    u.registry.log.splice(0)
    await assert.rejects(u.install("hello-world"), refusedBecause("it lacks references/NOTES.md"))
    assert.deepEqual(await u.files(), [])
    assert.deepEqual(stagingOf(u.dataDir, u.user.id), [])
  })

  withRegistry("a hostile archive is refused, and an update by one leaves the old version", async (u) => {
    await assert.rejects(u.install("zip-slip"), refusedBecause("the bundle was refused"))
    assert.deepEqual(await u.files(), [])
    await u.install("hello-world")
    const standing = await u.files()
    u.registry.publish("acme", "hello-world", "1.1.0")
    u.registry.tamper(true)
    await assert.rejects(u.install("hello-world"), refusedBecause("hash"))
    assert.deepEqual(await u.files(), standing)
    assert.equal((await u.skills.list(u.user, NO_SIGNAL))[0]?.version, "1.0.0")
  })

  withRegistry("a skill that says another name than its slug is refused", async (u) => {
    const file = publishedFile("SKILL.md", skillMd("other-name"))
    u.registry.skills.push({ ...u.published("risky"), slug: "named", versions: [release("1.0.0", [file])] })
    await assert.rejects(u.install("named"), refusedBecause("other-name"))
  })

  withRegistry("a registry that is busy is waited for, within bounds", async (u) => {
    u.registry.fail({ path: "/api/v1/skills/hello-world", status: 429, times: 1, retryAfter: 2 })
    u.registry.fail({ path: "/api/v1/download", status: 503, times: 2, retryAfter: 1 })
    assert.equal((await u.install("hello-world")).created, true)
    assert.deepEqual(u.waits, [2000, 1000, 1000])
    u.registry.fail({ path: "/api/v1/skills/risky", status: 429, times: 1, retryAfter: 3600 })
    await assert.rejects(u.install("risky"), (error) => {
      code("failed_dependency")(error)
      assert.equal((error as AppError).retryAfterSeconds, 3600)
      return true
    })
    u.waits.splice(0)
    u.registry.fail({ path: "/api/v1/skills/pending", status: 503, times: 100 })
    await assert.rejects(u.install("pending"), code("failed_dependency"))
    assert.deepEqual(u.waits, [1000, 2000, 4000])
  })

  withRegistry("a registry that fails, sends nonsense or no archive is 424 and says so", async (u) => {
    u.registry.fail({ path: "/api/v1/skills/hello-world", status: 500, times: 1 })
    await assert.rejects(u.install("hello-world"), failed(/failed \(HTTP 500\)/))
    u.registry.fail({ path: "/api/v1/skills/hello-world", status: 200, times: 1 })
    await assert.rejects(u.install("hello-world"), failed(/did not answer in JSON/))
    u.registry.fail({ path: "/api/v1/skills/hello-world", status: 0, times: 1, how: "drop" })
    await assert.rejects(u.install("hello-world"), failed(/cannot be reached/))
    const version = u.published("hello-world").versions[0]
    assert.ok(version)
    version.onGitHub = true
    await assert.rejects(u.install("hello-world"), failed(/no archive/))
  })

  withRegistry("discovery leads to no address that a stranger may not name", async (u) => {
    const named: [object | null, RegExp][] = [
      [{ apiBase: "http://169.254.169.254" }, /not https/],
      [{ apiBase: "https://169.254.169.254" }, /cannot be reached: .*not a public address/],
      [{ registry: "https://10.0.0.1:8443" }, /cannot be reached: .*not a public address/],
      [{ apiBase: "file:///etc/passwd" }, /not https/],
    ]
    for (const [answer, words] of named) {
      u.registry.discovery(answer)
      await assert.rejects(u.install("hello-world"), failed(words))
      // What was discovered is believed for an hour.
      u.clock.time += 2 * 60 * 60 * 1000
    }
    u.registry.discovery(null)
    assert.equal((await u.install("hello-world")).created, true)
  })

  withRegistry("a registry that sends without end is cut off", async (u) => {
    u.registry.fail({ path: "/api/v1/skills/hello-world", status: 0, times: 1, how: "flood" })
    await assert.rejects(u.install("hello-world"), failed(/sent too much/))
    u.registry.fail({ path: "/api/v1/download", status: 0, times: 1, how: "flood" })
    await assert.rejects(u.install("hello-world"), refusedBecause("the archive is too large"))
    assert.deepEqual(await u.files(), [])
  })

  withRegistry("a verdict on something else is none, and does not keep the others from being rechecked", async (u) => {
    await u.install("twin", { owner: "beta" })
    await u.install("risky", { accept_risk: true })
    for (const version of u.published("risky").versions) version.status = "malicious"
    for (const skill of u.registry.skills)
      if (skill.owner.handle === "beta") skill.owner = { ...skill.owner, handle: "beta2" }
    u.registry.alias("beta", "beta2")
    assert.deepEqual(await u.skills.recheck(NO_SIGNAL), { checked: 1, quarantined: 1, released: 0 })
    await assert.rejects(u.install("twin"), code("not_found"))
  })

  if (name === "sqlite") {
    withRegistry(
      "a registry that is silent or drips is given up in time",
      async (u) => {
        u.registry.fail({ path: "/api/v1/skills/hello-world", status: 0, times: 1, how: "hang" })
        await assert.rejects(u.install("hello-world"), failed(/in time|no answer/))
        u.registry.fail({ path: "/api/v1/download", status: 0, times: 1, how: "drip" })
        await assert.rejects(u.install("hello-world"), failed(/in time/))
        assert.deepEqual(stagingOf(u.dataDir, u.user.id), [])
      },
      700,
    )
  }

  withRegistry("a list is answered without the registry, with what was known", async (u) => {
    await u.install("hello-world")
    await u.registry[Symbol.asyncDispose]()
    u.clock.time += 24 * 60 * 60 * 1000
    const [skill] = await u.skills.list(u.user, NO_SIGNAL)
    assert.deepEqual([skill?.version, skill?.latest_version], ["1.0.0", "1.0.0"])
    await assert.rejects(u.skills.search(u.user, "hello", NO_SIGNAL), failed(/cannot be reached/))
  })

  withRegistry(
    "search says what the registry holds of each skill, and still finds them when it does not say",
    async (u) => {
      const verdict = async (q: string) => (await u.skills.search(u.user, q, NO_SIGNAL)).map((found) => found.verdict)
      const said = { hello: "clean", risky: "suspicious", pending: "pending" }
      for (const [q, word] of Object.entries(said)) assert.deepEqual(await verdict(q), [word])
      u.registry.fail({ path: "/api/v1/skills/-/security-verdicts", status: 500, times: 9 })
      for (const q of Object.keys(said)) assert.deepEqual(await verdict(q), [null])
    },
  )

  withRegistry("search finds skills, and says which are installed", async (u) => {
    await u.install("twin", { owner: "beta" })
    const found = await u.skills.search(u.user, "twin", NO_SIGNAL)
    assert.deepEqual(
      found.map(({ slug, owner, version, installed }) => ({ slug, owner, version, installed })),
      [
        { slug: "twin", owner: "acme", version: "0.1.0", installed: false },
        { slug: "twin", owner: "beta", version: "0.2.0", installed: true },
      ],
    )
    assert.deepEqual(await u.skills.search(u.user, "nothing like it", NO_SIGNAL), [])
  })

  withRegistry("what has since been judged malicious is put out of every agent's sight, with the reason", async (u) => {
    await u.install("hello-world")
    await u.install("risky", { accept_risk: true })
    await u.upload("greeter", skillMd("greeter"))
    const version = u.published("hello-world").versions[0]
    assert.ok(version)
    version.status = "malicious"
    u.clock.time += 12 * 60 * 60 * 1000
    assert.deepEqual(await u.skills.recheck(NO_SIGNAL), { checked: 2, quarantined: 1, released: 0 })
    const skills = await u.skills.list(u.user, NO_SIGNAL)
    const hello = skills.find((skill) => skill.id === "hello-world")
    assert.equal(hello?.state, "quarantined")
    assert.match(hello?.reason ?? "", /judged it malicious \(moderation\.malware_blocked/)
    assert.equal(hello?.provenance?.checked_at, "2026-03-02T00:00:00.000Z")
    const offered = (await u.skills.forPrompt(u.user.id, u.agentId)).map((skill) => skill.name)
    assert.deepEqual(offered, ["greeter", "risky"])
    const { source } = await u.skills.mount(u.user.id)
    assert.deepEqual(readdirSync(source).sort(), [".bundles", "greeter", "risky"])
    assert.equal(readdirSync(join(source, ".bundles")).length, 2)
    assert.match((await u.skills.read(u.user, "hello-world")).toString(), /Hello 1\.0\.0/)
    await assert.rejects(u.install("hello-world", { accept_risk: true }), code("malware"))
    assert.deepEqual(await u.skills.recheck(NO_SIGNAL), { checked: 2, quarantined: 0, released: 0 })

    version.status = "clean"
    assert.deepEqual(await u.skills.recheck(NO_SIGNAL), { checked: 2, quarantined: 0, released: 1 })
    assert.equal((await u.skills.forPrompt(u.user.id, u.agentId)).length, 3)
    assert.deepEqual(readdirSync(source).sort(), [".bundles", "greeter", "hello-world", "risky"])
    const audit = await u.db.read
      .selectFrom("audit")
      .select(["actor", "action"])
      .where("actor", "=", "platform")
      .execute()
    assert.deepEqual(audit.map((row) => row.action).sort(), ["skills.quarantine", "skills.release"])
  })

  withRegistry("a version that the registry no longer shows stays as it is", async (u) => {
    await u.install("hello-world")
    u.registry.skills.splice(0)
    assert.deepEqual(await u.skills.recheck(NO_SIGNAL), { checked: 1, quarantined: 0, released: 0 })
    assert.equal((await u.skills.forPrompt(u.user.id, u.agentId)).length, 1)
  })

  withRegistry("only one server rechecks in a night, and the next one if it failed", async (u) => {
    await u.install("hello-world")
    const asked = () => u.registry.log.filter((request) => request.url.endsWith("security-verdicts")).length
    const before = asked()
    u.registry.fail({ path: "/api/v1/skills/-/", status: 500, times: 1 })
    await assert.rejects(u.skills.recheckIfDue(NO_SIGNAL), code("failed_dependency"))
    await Promise.all([u.skills.recheckIfDue(NO_SIGNAL), u.skills.recheckIfDue(NO_SIGNAL)])
    await u.skills.recheckIfDue(NO_SIGNAL)
    assert.equal(asked() - before, 2)
    u.clock.time += 21 * 60 * 60 * 1000
    await u.skills.recheckIfDue(NO_SIGNAL)
    assert.equal(asked() - before, 3)
  })
})

const code = (expected: string) => (error: unknown) => {
  assert.ok(error instanceof AppError, String(error))
  assert.equal(error.code, expected, error.message)
  return true
}

const refusedBecause = (words: string) => (error: unknown) => {
  code("invalid_request")(error)
  assert.ok((error as AppError).message.includes(words), (error as AppError).message)
  return true
}

const failed = (words: RegExp) => (error: unknown) => {
  code("failed_dependency")(error)
  assert.match((error as AppError).message, words)
  return true
}
