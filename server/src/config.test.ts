import assert from "node:assert/strict"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, describe, test } from "node:test"
import { readConfig } from "./config.ts"
import { StartError } from "./lib/start-error.ts"

const folder = mkdtempSync(join(tmpdir(), "autonomis-config-"))
after(() => rmSync(folder, { recursive: true }))

const file = (name: string, content: string) => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}
const limits = {
  agents: 1,
  tokens_per_month: null,
  usd_per_month: null,
  usd_per_day: null,
  storage_bytes: null,
  requests_per_minute: 60,
  concurrent_runs: 1,
  sandbox: { memory_bytes: 1, cpus: 1, pids: 1 },
}
const plan = { tier: "only", limits }
const planWith = (network: object) =>
  JSON.stringify({
    plans: [{ ...plan, limits: { ...limits, sandbox: { ...limits.sandbox, network } } }],
    default: "only",
  })

describe("a value that cannot be used stops the start with one sentence that names the variable", () => {
  const refused: [variable: string, value: string, more?: Record<string, string>][] = [
    ["AUTONOMIS_PORT", "http"],
    ["AUTONOMIS_PORT", "65536"],
    ["AUTONOMIS_PORT", "-1"],
    ["AUTONOMIS_PORT", "80.5"],
    ["AUTONOMIS_PUBLIC_URL", "agents.example.com"],
    ["AUTONOMIS_PUBLIC_URL", "https://agents.example.com/below"],
    ["AUTONOMIS_PUBLIC_URL", "ftp://agents.example.com"],
    ["AUTONOMIS_PUBLIC_URL", "", { AUTONOMIS_HOST: "0.0.0.0" }],
    ["AUTONOMIS_HOST", "192.0.2.1"],
    ["AUTONOMIS_TRUSTED_PROXIES", "10.0.0.0/8,proxy"],
    ["AUTONOMIS_TRUSTED_PROXIES", "10.0.0.0/33"],
    ["AUTONOMIS_CORS_ORIGINS", "https://a.example,*"],
    ["AUTONOMIS_ADMIN_KEY", "short"],
    ["AUTONOMIS_ADMIN_KEY", "with a space in the middle"],
    ["AUTONOMIS_MASTER_KEY", Buffer.alloc(31).toString("base64")],
    ["AUTONOMIS_MASTER_KEY", "not base64 at all, but of a good length"],
    ["DATABASE_URL", "mysql://localhost/x"],
    ["DATABASE_URL", "autonomis.db"],
    ["AUTONOMIS_SANDBOX", "chroot"],
    ["AUTONOMIS_SANDBOX", "kubernetes"],
    ["DOCKER_HOST", "tcp://10.0.0.1:2375", { AUTONOMIS_SANDBOX: "docker" }],
    ["AUTONOMIS_SANDBOX_IDLE_SECONDS", "0"],
    ["AUTONOMIS_WORKERS", "0"],
    ["AUTONOMIS_DEFAULT_MODEL", "gpt-5"],
    ["AUTONOMIS_DEFAULT_MODEL", "nobody/gpt-5"],
    ["AUTONOMIS_DEFAULT_MODEL", "demo/demo", { AUTONOMIS_DEMO: "off" }],
    ["AUTONOMIS_DEMO", "yes"],
    ["AUTONOMIS_PLATFORM_USD_PER_DAY", "-1"],
    ["AUTONOMIS_PLATFORM_USD_PER_DAY", "ten"],
    ["AUTONOMIS_CLAWHUB_URL", "clawhub"],
    ["AUTONOMIS_PLANS_FILE", join(folder, "absent.json")],
    ["AUTONOMIS_PLANS_FILE", file("broken.json", "{")],
    ["AUTONOMIS_PLANS_FILE", file("wrong.json", `{"plans":[{"tier":"x"}],"default":"x"}`)],
    ["AUTONOMIS_PLANS_FILE", file("twice.json", JSON.stringify({ plans: [plan, plan], default: "only" }))],
    ["AUTONOMIS_PLANS_FILE", file("default.json", JSON.stringify({ plans: [plan], default: "other" }))],
    ["AUTONOMIS_DISK_QUOTA", "project"],
    ["AUTONOMIS_DISK_RESERVE", "1GB"],
    ["AUTONOMIS_DISK_RESERVE", "0"],
    ["AUTONOMIS_DISK_RESERVE", "101%"],
    ["AUTONOMIS_DISK_RESERVE", "-1GiB"],
    ["AUTONOMIS_DISK_RESERVE", "much"],
    ["AUTONOMIS_EGRESS_PORTS", "8443,https"],
    ["AUTONOMIS_EGRESS_PORTS", "65536"],
    ["AUTONOMIS_PLANS_FILE", file("network.json", planWith({ allow: ["*.example.com"] }))],
    ["AUTONOMIS_PLANS_FILE", file("misspelt.json", planWith({ denied: ["example.com"] }))],
    ["AUTONOMIS_PROT", "8800"],
    ["OPENAI_BASE_URL", "localhost:1234"],
  ]
  for (const [variable, value, more] of refused) {
    test(`${variable}=${value.replace(folder, "")} ${more ? JSON.stringify(more) : ""}`, () => {
      const error = thrownBy(() => readConfig({ [variable]: value, ...more }, "/"))
      assert.ok(error instanceof StartError, String(error))
      assert.match(error.message, new RegExp(`\\b${variable}\\b`))
      assert.match(error.message, /^[^\n]+[.?]$/)
    })
  }
})

test("an unknown setting that is nearly a known one is told which", () => {
  assert.match(thrownBy(() => readConfig({ AUTONOMIS_DATADIR: "x" }, "/")).message, /did you mean AUTONOMIS_DATA_DIR\?/)
})

test("no message repeats a secret", () => {
  for (const name of ["AUTONOMIS_ADMIN_KEY", "AUTONOMIS_MASTER_KEY", "DATABASE_URL"]) {
    assert.doesNotMatch(thrownBy(() => readConfig({ [name]: "s3cr et" }, "/")).message, /s3cr/)
  }
})

test("the Docker daemon is where Docker's own tools find it; who does not use it may set that as they like", () => {
  const socketFor = (env: Record<string, string>) => readConfig(env, "/").config.dockerSocket
  assert.equal(socketFor({ AUTONOMIS_SANDBOX: "docker" }), "/var/run/docker.sock")
  assert.equal(socketFor({ AUTONOMIS_SANDBOX: "docker", DOCKER_HOST: "unix:///run/d.sock" }), "/run/d.sock")
  assert.equal(socketFor({ DOCKER_HOST: "tcp://10.0.0.1:2375" }), "/var/run/docker.sock")
})

test("an empty variable counts as unset", () => {
  const names = [
    "AUTONOMIS_PORT",
    "AUTONOMIS_HOST",
    "AUTONOMIS_MASTER_KEY",
    "DATABASE_URL",
    "AUTONOMIS_DEMO",
    "AUTONOMIS_X",
  ]
  const { config, secrets } = readConfig(Object.fromEntries(names.map((name) => [name, ""])), "/srv")
  assert.deepEqual([config.host, config.port, config.demo, config.dataDir], ["127.0.0.1", 8800, true, "/srv/data"])
  assert.deepEqual(secrets, { adminKey: null, masterKey: null, databaseUrl: null, providers: {} })
})

test("what is secret is taken out of the environment, what libraries read by themselves as well", () => {
  const env: Record<string, string | undefined> = {
    OPENAI_API_KEY: "sk-platform",
    OPENAI_BASE_URL: "https://models.example/v1/",
    AWS_SECRET_ACCESS_KEY: "aws",
    AUTONOMIS_ADMIN_KEY: "an-admin-key-of-mine",
    AUTONOMIS_MASTER_KEY: Buffer.alloc(32, 7).toString("base64"),
    DATABASE_URL: "postgres://ada:pw@db/autonomis",
    PATH: "/bin",
  }
  const { config, secrets } = readConfig(env, "/")
  assert.deepEqual(env, { PATH: "/bin" })
  assert.deepEqual(secrets.providers, {
    OPENAI_API_KEY: "sk-platform",
    OPENAI_BASE_URL: "https://models.example/v1/",
  })
  assert.deepEqual(secrets.masterKey && [...secrets.masterKey], Array(32).fill(7))
  assert.equal(config.database, "postgres")
  assert.doesNotMatch(JSON.stringify(config), /sk-platform|pw@|of-mine/)
})

test("a plans file replaces the built-in plans", () => {
  const plans = { plans: [plan], default: "only" }
  const path = file("plans.json", JSON.stringify(plans))
  assert.deepEqual(readConfig({ AUTONOMIS_PLANS_FILE: path }, "/").config.plans, plans)
})

test("a plan's domains are kept in their one spelling", () => {
  const path = file("domains.json", planWith({ allowed: true, allow: ["Example.COM.", "münchen.example"], deny: [] }))
  const { plans } = readConfig({ AUTONOMIS_PLANS_FILE: path }, "/").config
  assert.deepEqual(plans?.plans[0]?.limits.sandbox.network, {
    ...{ allowed: true, deny: [] },
    allow: ["example.com", "xn--mnchen-3ya.example"],
  })
})

test("a reserve of the disk is a size or a part, and further ports are listed", () => {
  const reserveOf = (value: string) => readConfig({ AUTONOMIS_DISK_RESERVE: value }, "/").config.diskReserve
  assert.deepEqual(reserveOf("2GiB"), { bytes: 2 ** 31, share: 1 })
  assert.deepEqual(reserveOf("1.5 GiB"), { bytes: 1.5 * 2 ** 30, share: 1 })
  assert.deepEqual(reserveOf("500MiB"), { bytes: 500 * 2 ** 20, share: 1 })
  assert.deepEqual(reserveOf("1048576"), { bytes: 2 ** 20, share: 1 })
  assert.deepEqual(reserveOf("7.5%"), { bytes: Number.MAX_SAFE_INTEGER, share: 0.075 })
  assert.equal(reserveOf(""), null)
  assert.deepEqual(readConfig({ AUTONOMIS_EGRESS_PORTS: "22, 8443" }, "/").config.egressPorts, [22, 8443])
})

test("a host that others can reach is taken with a public URL", () => {
  const { config } = readConfig({ AUTONOMIS_HOST: "0.0.0.0", AUTONOMIS_PUBLIC_URL: "https://agents.example.com/" }, "/")
  assert.equal(config.publicUrl, "https://agents.example.com")
})

function thrownBy(what: () => unknown): Error {
  try {
    what()
  } catch (error) {
    assert.ok(error instanceof Error)
    return error
  }
  assert.fail("nothing was thrown")
}
