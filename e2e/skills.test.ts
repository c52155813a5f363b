import assert from "node:assert/strict"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { after, describe, test } from "node:test"
import { z } from "zod"
import { startRegistryDouble } from "../test/doubles/clawhub/registry.ts"
import { stopOwnPostgres } from "../test/postgres.ts"
import { startServer, type TestServer } from "../test/server.ts"
import { until } from "../test/until.ts"
import { makeZip, skillMd } from "../test/zip.ts"
import { uploadSkill } from "./upload-skill.ts"

after(stopOwnPostgres)

for (const database of ["sqlite", "postgres"] as const) {
  describe(database, () => {
    test("an agent reads an installed skill and runs its script in its sandbox, also after an update", async () => {
      await using registry = await startRegistryDouble()
      await using server = await startServer({ database, env: { AUTONOMIS_CLAWHUB_URL: registry.url } })
      const key = await newUser(server)
      const chat = chatWith(server, key)
      // The sandbox stands before the first skill does.
      assert.match(await chat('/tool bash {"command":"ls /skills; echo open"}'), /open/)

      const installed = await server.call("POST", "/users/ada/skills/hello-world/registry-install", {}, key)
      assert.equal(installed.status, 201)
      assert.deepEqual(
        [installed.body.owner, installed.body.version, installed.body.state],
        ["acme", "1.0.0", "active"],
      )
      assert.match(await chat("which skills do you have?"), /hello-world/)
      assert.match(await chat('/tool read {"path":"/skills/hello-world/SKILL.md"}'), /# Hello 1\.0\.0/)
      assert.match(await chat('/tool bash {"command":"/skills/hello-world/scripts/hello.sh"}'), /hello 1\.0\.0/)
      const write =
        "touch /skills/x; rm /skills/hello-world/SKILL.md; echo x > /skills/hello-world/SKILL.md; ls -a /skills"
      const refused = await chat(`/tool bash ${JSON.stringify({ command: `(${write}) 2>&1` })}`)
      // Once in the answer and once in the call's result, for each of the three.
      assert.equal(refused.match(/Read-only file system/g)?.length, 6, refused)

      registry.publish("acme", "hello-world", "1.1.0")
      const listed = await server.call("GET", "/users/ada/skills", undefined, key)
      assert.deepEqual([listed.body.skills[0].version, listed.body.skills[0].latest_version], ["1.0.0", "1.1.0"])
      const updated = await server.call("POST", "/users/ada/skills/hello-world/registry-install", {}, key)
      assert.deepEqual([updated.status, updated.body.version], [200, "1.1.0"])
      assert.match(await chat('/tool bash {"command":"/skills/hello-world/scripts/hello.sh"}'), /hello 1\.1\.0/)

      assert.equal((await server.call("DELETE", "/users/ada/skills/hello-world/file", undefined, key)).status, 204)
      assert.match(await chat("which skills do you have?"), /no skills yet/)
      assert.match(await chat('/tool bash {"command":"ls /skills/hello-world 2>&1"}'), /No such file/)
    })

    test("the endpoints answer as the contract says", async () => {
      await using registry = await startRegistryDouble()
      await using server = await startServer({ database, env: { AUTONOMIS_CLAWHUB_URL: registry.url } })
      const key = await newUser(server)
      const send = uploader(server, key)
      const install = (slug: string, body: unknown) =>
        server.call("POST", `/users/ada/skills/${slug}/registry-install`, body, key)

      const first = await send("greeter", skillMd("greeter"), "text/markdown")
      assert.deepEqual([first.status, first.body.id, first.body.source], [201, "greeter", "upload"])
      assert.equal((await send("greeter", skillMd("greeter"), "text/markdown; charset=utf-8")).status, 200)
      const zip = makeZip([
        { name: "greeter/SKILL.md", data: skillMd("greeter") },
        { name: "greeter/a.sh", data: "x" },
      ])
      assert.deepEqual((await send("greeter", zip, "application/zip")).body.files, ["SKILL.md", "a.sh"])
      assert.equal((await send("other", skillMd("greeter"), "text/markdown")).status, 400)
      assert.equal((await send("Bad_Id", skillMd("greeter"), "text/markdown")).status, 400)
      assert.equal((await send("greeter", "{}", "application/json")).status, 415)
      assert.equal((await send("greeter", makeZip([{ name: "../x", data: "x" }]), "application/zip")).status, 400)
      assert.equal((await send("greeter", Buffer.alloc(11 * 1024 * 1024), "application/zip")).status, 413)
      const read = await fetch(`${server.url}/api/v1/users/ada/skills/greeter/file`, { headers: { "X-API-Key": key } })
      assert.match(read.headers.get("content-type") ?? "", /^text\/markdown/)
      assert.equal(await read.text(), skillMd("greeter"))
      assert.equal((await server.call("GET", "/users/ada/skills/none/file", undefined, key)).status, 404)
      assert.equal((await server.call("DELETE", "/users/ada/skills/none/file", undefined, key)).status, 404)

      const answers: [string, unknown, number, string | undefined][] = [
        ["none-such", {}, 404, undefined],
        ["Not_A_Slug", {}, 400, "invalid_request"],
        ["hello-world", { version: "9.9.9" }, 404, undefined],
        ["hello-world", { unknown: 1 }, 400, "invalid_request"],
        ["twin", {}, 409, "ambiguous_skill"],
        ["risky", {}, 409, "needs_accept_risk"],
        ["pending", {}, 409, "needs_accept_risk"],
        ["malware", { accept_risk: true }, 403, "malware"],
        ["zip-slip", {}, 400, "invalid_request"],
      ]
      for (const [slug, body, status, code] of answers) {
        const answer = await install(slug, body)
        assert.deepEqual([answer.status, answer.body.code], [status, code], slug)
      }
      assert.equal((await install("risky", { accept_risk: true })).body.provenance.verdict, "suspicious")
      const bare = await server.call("POST", "/users/ada/skills/hello-world/registry-install", undefined, key)
      assert.equal(bare.status, 201)
      assert.equal((await install("hello-world", { owner: "beta" })).status, 409)
      await send("twin", skillMd("twin"), "text/markdown")
      assert.equal((await install("twin", { owner: "acme" })).status, 409)

      const found = await server.call("GET", "/users/ada/skills/registry?q=hello", undefined, key)
      assert.deepEqual(
        found.body.skills.map((skill: { slug: string; installed: boolean }) => [skill.slug, skill.installed]),
        [["hello-world", true]],
      )
      await registry[Symbol.asyncDispose]()
      const dead = await install("pending", { accept_risk: true })
      assert.deepEqual([dead.status, dead.body.code], [424, "failed_dependency"])
      const other = await server.call("GET", "/users/eve/skills", undefined, key)
      assert.deepEqual([other.status, other.body], [404, { error: "user not found" }])
    })

    test("a server that was killed while skills were replaced has whole skills when it is back", async () => {
      const first = await startServer({ database, env: { AUTONOMIS_SANDBOX: "none" } })
      const { dataDir, databaseUrl } = first
      try {
        const key = await newUser(first)
        const send = uploader(first, key)
        const bundle = (n: number) =>
          makeZip([
            { name: "SKILL.md", data: skillMd("greeter", "", `Version ${n}.`) },
            ...Array.from({ length: 40 }, (_, i) => ({ name: `f/${i}.txt`, data: `${n}` })),
          ])
        assert.equal((await send("greeter", bundle(0), "application/zip")).status, 201)
        let answered = 0
        const replacing = (async () => {
          for (let n = 1; n < 1000; n++)
            if ((await send("greeter", bundle(n), "application/zip")).status === 200) answered = n
        })().catch(() => {})
        await until(() => answered >= 3, "some versions are replaced")
        await first.kill9()
        await replacing

        await using second = await startServer({
          ...{ database, dataDir, env: { AUTONOMIS_SANDBOX: "none", AUTONOMIS_ADMIN_KEY: first.adminKey } },
          ...(databaseUrl === null ? {} : { databaseUrl }),
        })
        const { body } = await second.call("GET", "/users/ada/skills", undefined, key)
        const [skill] = body.skills
        const version = Number(/Version (\d+)\./.exec(skill.description)?.[1])
        assert.ok(version === answered || version === answered + 1, `${version} after ${answered}`)
        assert.equal(skill.files.length, 41)
        const folder = join(dataDir, "users", readdirSync(join(dataDir, "users"))[0] ?? "", "skills")
        await until(() => readdirSync(join(folder, "shown/.bundles")).length === 1, "what was under way is gone")
        await until(() => readdirSync(join(folder, "staging")).length === 0, "what was being received is gone")
        const read = await uploader(second, key)("greeter", bundle(2000), "application/zip")
        assert.equal(read.status, 200)
      } finally {
        await first[Symbol.asyncDispose]()
      }
    })
  })
}

/** A skill, or an error. */
const Answered = z.looseObject({ id: z.string(), source: z.string(), files: z.array(z.string()) }).partial()

async function newUser(server: TestServer): Promise<string> {
  const { body } = await server.call("POST", "/users", { user: "ada", tier: "enterprise" })
  const made = await server.call("POST", "/users/ada/agents", { name: "manager" }, body.api_key)
  assert.equal(made.status, 201)
  return body.api_key
}

/** Says something to the agent, in one session; gives its answer with what its tools returned. */
function chatWith(server: TestServer, key: string) {
  return async (content: string): Promise<string> => {
    const body = { messages: [{ role: "user", content }], session: "s", model: "demo/demo" }
    const answer = await server.call("POST", "/users/ada/agents/manager/chat", body, key)
    assert.equal(answer.status, 200, JSON.stringify(answer.body))
    return JSON.stringify(answer.body)
  }
}

function uploader(server: TestServer, key: string) {
  return async (skill: string, file: string | Buffer, type: string) => {
    const answer = await uploadSkill(server, { user: "ada", skill }, file, { key, type })
    return { status: answer.status, body: Answered.parse(await answer.json()) }
  }
}
