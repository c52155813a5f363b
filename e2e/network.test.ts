import assert from "node:assert/strict"
import { test as inAnyNetwork } from "node:test"
import type { LogEntry } from "@autonomis/contract/usage.ts"
import { inOwnNetwork, runInOwnNetwork } from "../server/src/sandboxes/egress/own-network.ts"
import { type Internet, startInternet } from "../test/doubles/internet.ts"
import { startServer, type TestServer } from "../test/server.ts"
import { until } from "../test/until.ts"
import { plansFile } from "./plans-file.ts"

/** What gets out of a sandbox here must not get out of the test. */
const test = (name: string, run: () => Promise<void>) => void (inOwnNetwork && inAnyNetwork(name, run))
if (!inOwnNetwork)
  inAnyNetwork("the network of an agent, in a network of the test's own", () => runInOwnNetwork(import.meta.filename))

/** In the played network, but no address of an interface: public for whoever judges it. */
const PUBLIC = "93.184.216.34"
const BALANCER = "93.184.216.40"
const NAMES = {
  "code.example": PUBLIC,
  "pkg.code.example": PUBLIC,
  "banned.example": PUBLIC,
  "other.example": PUBLIC,
  "agents.example": BALANCER,
  "alias.example": BALANCER,
  "inside.example": "10.0.0.1",
  "host.example": "93.184.216.1",
}

const CERTIFICATE = "/users/ada/agents/manager/files/ca.pem"

interface Ada {
  server: TestServer
  internet: Internet
  configure(patch: object): Promise<{ status: number; body: { code?: string; config: { network: string } } }>
  bash(command: string): Promise<string>
  /** What was told of refused connections. */
  notes: string[]
}

/** The server as `npm start` runs it, with its own name service and judgement of addresses, and an agent of one user. */
async function withAgent(tier: string, use: (ada: Ada) => Promise<void>): Promise<void> {
  const network = { free: { allowed: false }, pro: { deny: ["Banned.example"] } }
  using plans = plansFile((tier, limits) =>
    tier === "free" || tier === "pro" ? { ...limits, sandbox: { ...limits.sandbox, network: network[tier] } } : limits,
  )
  await using internet = await startInternet(NAMES)
  await using server = await startServer({
    env: {
      AUTONOMIS_PLANS_FILE: plans.path,
      AUTONOMIS_PUBLIC_URL: "https://agents.example",
      AUTONOMIS_EGRESS_PORTS: "8443",
    },
  })
  const { body } = await server.call("POST", "/users", { user: "ada", tier })
  const key = body.api_key
  await server.call("POST", "/users/ada/agents", { name: "manager" }, key)
  const put = await server.call("PUT", CERTIFICATE, Buffer.from(internet.certificate), key)
  assert.equal(put.status, 201, JSON.stringify(put.body))
  const notes: string[] = []
  await use({
    ...{ server, internet, notes },
    configure: (patch) => server.call("PATCH", "/users/ada/agents/manager/config", patch, key),
    async bash(command) {
      const content = `/tool bash ${JSON.stringify({ command: `${command}; true` })}`
      const messages = [{ role: "user", content }]
      const { status, body } = await server.call("POST", "/users/ada/agents/manager/chat", { messages }, key)
      assert.equal(status, 200, JSON.stringify(body))
      const [{ result }] = body.tool_calls
      notes.push(...(result.match(/^\[network: .*\]$/gm) ?? []))
      return result.replace(/\n\[network: [^\n]*\]\n?/g, "")
    },
  })
}

const codeOf = (url: string) => `curl -s -o /dev/null -w '%{http_code}/%{http_connect} ' --cacert ca.pem ${url}`

test("an agent has no network until its setting gives it one, and then curl, fetch, git, npm and pip work", () =>
  withAgent("pro", async ({ server, internet, configure, bash }) => {
    assert.match(await bash("curl -s -m 5 http://code.example/ || echo none $?; env | grep -ic proxy"), /^none \d+\n0/)
    assert.equal((await configure({ network: "egress" })).body.config.network, "egress")
    const both = "curl -sS http://code.example/a; echo; curl -sS --cacert ca.pem https://code.example/b; echo"
    const fetched = `NODE_EXTRA_CA_CERTS=ca.pem node -e "fetch('https://code.example/c').then(r=>r.text()).then(console.log)"`
    assert.equal(
      await bash(`${both}; ${fetched}; curl -sS http://code.example:8443/d`),
      "this is code.example/a\nthis is code.example/b\nthis is code.example/c\nthis is code.example/d",
    )
    assert.match(
      await bash("GIT_SSL_CAINFO=/work/ca.pem git clone -q https://code.example/repo.git && cat repo/hello.txt"),
      /^from git\n/,
    )
    assert.match(
      await bash(
        "mkdir n && cd n && npm i --no-audit --no-fund --cafile ../ca.pem --registry https://pkg.code.example tiny-npm; node -p 'require(\"tiny-npm\")'",
      ),
      /from npm\n/,
    )
    assert.match(
      await bash(
        "pip install -q --disable-pip-version-check --cert ca.pem --target py -i https://pkg.code.example/simple tiny-wheel; PYTHONPATH=py python3 -c 'import tiny_wheel; print(tiny_wheel.word)'",
      ),
      /from pip\n/,
    )
    assert.ok(internet.asked.includes("pkg.code.example GET /simple/tiny-wheel/"), internet.asked.join("\n"))

    const logged = async () => (await server.call("GET", "/users/ada/logs?agent=manager")).body.logs
    const line = await until(
      async () =>
        (await logged()).find(({ message }: LogEntry) =>
          /^network: pkg\.code\.example:443 \(93\.184\.216\.34\): \d+ connections?, \d+ bytes out, \d+ bytes in$/.test(
            message,
          ),
        ),
      "the destination is logged",
    )
    assert.deepEqual([line.source, line.level, line.agent], ["sandbox", "info", "manager"])
    const { egress } = (await server.call("GET", "/status")).body.sandbox
    assert.ok(egress.connections >= 7 && egress.bytes_in > 1000 && egress.bytes_out > 1000, JSON.stringify(egress))
    assert.equal(egress.refused, 0)
  }))

test("nothing of this machine, of private networks, of the cloud or of the server itself is reached", () =>
  withAgent("enterprise", async ({ server, internet, configure, bash }) => {
    await configure({ network: "egress" })
    const own = new URL(server.url).port
    const hosts = [
      ...["127.0.0.1", `127.0.0.1:${own}`, "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"],
      ...["10.0.0.1", "inside.example", "169.254.169.254", "93.184.216.1", "host.example"],
      ...["agents.example", "AGENTS.example.", "alias.example", BALANCER],
    ]
    const tries = hosts.flatMap((host) => [
      `curl -s -g -x http://127.0.0.1:3128 --noproxy '' -o /dev/null -w '%{http_code}/%{http_connect} ' http://${host}/`,
      `curl -s -g -x http://127.0.0.1:3128 --noproxy '' --proxytunnel -o /dev/null -w '%{http_code}/%{http_connect} ' http://${host}/`,
    ])
    const said = await bash(`${tries.join("; ")}; ${codeOf("http://code.example/ok")}`)
    const codes = said.trim().split(" ")
    assert.deepEqual(codes.pop(), "200/000")
    assert.equal(codes.length, tries.length)
    for (const [i, code] of codes.entries()) assert.match(code, /^(403\/000|000\/403)$/, tries[i] ?? "")
    assert.match(
      await bash(`${codeOf("-L http://code.example/metadata")}; ${codeOf("http://code.example:22/")}`),
      /^403.* 403/,
    )
    assert.deepEqual(internet.asked, ["code.example GET /ok", "code.example GET /metadata"])
  }))

test("the plan's and the agent's domains are kept to, and a change counts from the next command on, in the same sandbox", () =>
  withAgent("pro", async ({ server, configure, bash, notes }) => {
    await configure({ network: "egress" })
    await bash("sleep 1000 > /dev/null 2>&1 & echo $! > pid")
    const all = ["code", "pkg.code", "banned", "other"].map((name) => codeOf(`https://${name}.example/`)).join("; ")
    const [open, shut] = ["200/200", "000/403"]
    assert.equal(await bash(all), `${open} ${open} ${shut} ${open} `)
    await configure({ network_deny: ["other.EXAMPLE"] })
    assert.equal(await bash(all), `${open} ${open} ${shut} ${shut} `)
    await configure({ network_allow: ["pkg.code.example", "banned.example"], network_deny: null })
    assert.equal(await bash(all), `${shut} ${open} ${shut} ${shut} `)
    // No list was worth a new sandbox: what ran in the background still does.
    assert.equal(await bash("kill -0 $(cat pid) && echo same"), "same\n")
    assert.equal(notes[0], "[network: refused banned.example:443: banned.example is denied by policy]")
    const refusal = /^network: banned\.example:443: refused.*: banned\.example is denied by policy$/
    await until(async () => {
      const { logs } = (await server.call("GET", "/users/ada/logs?agent=manager")).body
      return logs.some(({ message, level }: LogEntry) => level === "warn" && refusal.test(message))
    }, "the refusal is logged")
    await configure({ network: "none" })
    assert.match(await bash("curl -s -m 5 http://pkg.code.example/ || echo none $?"), /^none/)
  }))

test("a secret that is part of a name is masked in every log", () =>
  withAgent("pro", async ({ server, configure, bash }) => {
    const value = "a-token-0123456789"
    await configure({ network: "egress" })
    await server.call("PUT", "/users/ada/secrets", { secrets: { TOKEN: value } })
    await bash("curl -s http://$TOKEN.banned.example/ http://code.example/$TOKEN -o /dev/null -o /dev/null")
    const line = /"message":"egress".*"destination":"\[secret TOKEN\]\.banned\.example:80"/
    await until(() => line.test(server.output().stderr), "the refusal is logged")
    await until(() => /"destination":"code\.example:80".*"connections":1/.test(server.output().stderr), "the other too")
    const kept = await Promise.all(["/users/ada/logs", "/logs"].map((path) => server.call("GET", path)))
    const all = JSON.stringify(kept.map(({ body }) => body)) + server.output().stderr
    assert.match(all, /network: \[secret TOKEN\]\.banned\.example:80: refused/)
    assert.ok(!all.includes(value))
  }))

test("a plan without a network refuses the setting, and moving to it takes the network away", () =>
  withAgent("pro", async ({ server, configure, bash }) => {
    await configure({ network: "egress" })
    assert.equal(await bash(codeOf("http://code.example/")), "200/000 ")
    assert.equal((await server.call("PUT", "/users/ada/tier", { tier: "free" })).status, 200)
    assert.match(await bash("curl -s -m 5 http://code.example/ || echo none $?"), /^none/)
    await configure({ network: null })
    const refused = await configure({ network: "egress" })
    assert.deepEqual([refused.status, refused.body.code], [403, "plan_limit"])
    const made = await server.call("POST", "/users/ada/agents", { name: "two", config: { network: "egress" } })
    assert.deepEqual([made.status, made.body.code], [403, "plan_limit"])
  }))
