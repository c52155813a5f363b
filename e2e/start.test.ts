import assert from "node:assert/strict"
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { after, describe, test } from "node:test"
import { refusedStart, startServer, type TestServer } from "../test/server.ts"
import { until } from "../test/until.ts"

const folders: string[] = []
const folder = () => {
  const path = mkdtempSync(join(tmpdir(), "autonomis-start-"))
  folders.push(path)
  return path
}
after(() => {
  for (const path of folders) rmSync(path, { recursive: true, force: true })
})

/** What the server has said when it has said so many lines. */
const lines = (server: TestServer, count: number) =>
  until(() => {
    const said = server.output().stdout.trim().split("\n")
    return said.length >= count && said
  }, `${count} lines`)

test("the first start says the admin key once; later ones only where it is", async () => {
  const dataDir = folder()
  await using first = await startServer({ dataDir })
  const [ready, place, key, link, ...more] = await lines(first, 4)
  assert.match(ready ?? "", /^Autonomis is ready at http:\/\/127\.0\.0\.1:\d+$/)
  assert.equal(place, `The admin key is in ${join(dataDir, "admin.key")}`)
  assert.match(key ?? "", /^Your admin key, shown this once: atn_admin_[0-9a-z]{49}$/)
  assert.ok(key?.endsWith(first.adminKey))
  assert.match(link ?? "", /^Open the dashboard as administrator, once, .*: http:\S+#token=atn_link_\w+$/)
  assert.deepEqual(more, [])
  assert.equal((await first.call("POST", "/users", { user: "ada" })).status, 201)
  assert.equal(await first.stop(), 0)
  await using second = await startServer({ dataDir })
  assert.equal(second.adminKey, first.adminKey)
  assert.equal((await lines(second, 2)).length, 2)
  assert.ok(!second.output().stdout.includes(first.adminKey))
  assert.equal((await second.call("GET", "/users")).status, 200)
})

test("keys and database can be read by their owner only", async () => {
  await using server = await startServer()
  for (const name of readdirSync(server.dataDir)) {
    const { mode } = statSync(join(server.dataDir, name))
    if (/\.(key|db|db-wal|db-shm|lock)$/.test(name)) assert.equal(mode & 0o777, 0o600, name)
    else assert.equal(mode & 0o006, 0, name)
  }
  assert.ok(readdirSync(server.dataDir).includes("master.key"))
})

test("an administrator's key from the environment is the one that works, and none is made", async () => {
  const adminKey = "an-administrator-chose-this"
  await using server = await startServer({ env: { AUTONOMIS_ADMIN_KEY: adminKey } })
  assert.equal((await server.call("GET", "/users")).status, 200)
  assert.equal((await server.call("GET", "/users", undefined, `${adminKey}x`)).status, 401)
  assert.ok(!readdirSync(server.dataDir).includes("admin.key"))
})

describe("what cannot start says one sentence and exits with another code than 0", () => {
  const oneSentence = ({ code, stderr }: { code: unknown; stderr: string }, about: RegExp) => {
    assert.equal(code, 1, stderr)
    assert.match(stderr, /^autonomis: [^\n]+[.?]\n$/)
    assert.match(stderr, about)
  }

  test("a port in use", async () => {
    const taken = createServer().listen(0, "127.0.0.1")
    await new Promise((resolve) => taken.once("listening", resolve))
    const address = taken.address()
    assert.ok(typeof address === "object" && address !== null)
    oneSentence(await refusedStart({ env: { AUTONOMIS_PORT: String(address.port) } }), /AUTONOMIS_PORT.*in use/)
    taken.close()
  })

  test("a host that is not of this machine", async () => {
    const env = { AUTONOMIS_HOST: "192.0.2.1", AUTONOMIS_PUBLIC_URL: "https://a.example" }
    oneSentence(await refusedStart({ env }), /AUTONOMIS_HOST.*192\.0\.2\.1/)
  })

  test("a data folder that cannot be made, one that cannot be written, one that is a file", async () => {
    const file = join(folder(), "file")
    writeFileSync(file, "")
    for (const dataDir of ["/proc/autonomis", "/proc/1", file, join(file, "below")]) {
      oneSentence(await refusedStart({ dataDir }), /AUTONOMIS_DATA_DIR.*cannot be written/)
    }
  })

  test("a database that a newer program has changed", async () => {
    const dataDir = folder()
    await using server = await startServer({ dataDir })
    await server.stop()
    const raw = new DatabaseSync(join(dataDir, "autonomis.db"))
    raw.exec("insert into migrations (name, applied_at) values ('9999-from-the-future', 0)")
    raw.close()
    oneSentence(await refusedStart({ dataDir }), /newer than this program.*9999-from-the-future/)
  })

  test("a file that is not a database", async () => {
    const dataDir = folder()
    writeFileSync(join(dataDir, "autonomis.db"), "this is a letter, not a database\n".repeat(100))
    oneSentence(await refusedStart({ dataDir }), /autonomis\.db cannot be opened/)
  })

  test("a PostgreSQL that does not answer, without its password", async () => {
    const env = { DATABASE_URL: "postgres://ada:pass-word@127.0.0.1:1/autonomis" }
    const refused = await refusedStart({ env })
    oneSentence(refused, /DATABASE_URL.*ECONNREFUSED/)
    assert.doesNotMatch(refused.stderr + refused.stdout, /pass-word/)
  })

  test("another master key than the one that is kept", async () => {
    const dataDir = folder()
    await using server = await startServer({ dataDir })
    await server.stop()
    const env = { AUTONOMIS_MASTER_KEY: Buffer.alloc(32).toString("base64") }
    oneSentence(await refusedStart({ dataDir, env }), /AUTONOMIS_MASTER_KEY/)
  })

  test("another master key than the one that the stored secrets are sealed with", async () => {
    const dataDir = folder()
    const key = (byte: number) => ({ AUTONOMIS_MASTER_KEY: Buffer.alloc(32, byte).toString("base64") })
    await using server = await startServer({ dataDir, env: key(1) })
    await server.call("POST", "/users", { user: "ada" })
    assert.equal((await server.call("PUT", "/users/ada/secrets", { secrets: { A_TOKEN: "a value" } })).status, 200)
    await server.stop()
    oneSentence(await refusedStart({ dataDir, env: key(2) }), /AUTONOMIS_MASTER_KEY.*sealed/)
    await using again = await startServer({ dataDir, env: key(1) })
    assert.equal((await again.call("GET", "/users/ada/secrets")).body.secrets.length, 1)
  })

  test("a setting with a typo", async () => {
    oneSentence(await refusedStart({ env: { AUTONOMIS_PROT: "1" } }), /AUTONOMIS_PROT.*AUTONOMIS_PORT\?/)
  })

  test("a second server on the same data folder, while the first goes on", async () => {
    await using first = await startServer()
    oneSentence(await refusedStart({ dataDir: first.dataDir }), /in use by another Autonomis server/)
    assert.equal((await first.call("GET", "//health")).status, 200)
    // A crash leaves no lock behind.
    await first.kill9()
    await using again = await startServer({ dataDir: first.dataDir })
    assert.equal((await again.call("GET", "//health")).status, 200)
  })
})
