import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer as createHttp, type IncomingMessage } from "node:http"
import { type AddressInfo, createServer as createTcp } from "node:net"
import { test as inAnyNetwork } from "node:test"
import { silentLogger } from "../../lib/log.ts"
import { createRedactor } from "../../lib/redact.ts"
import type { EgressPolicy, SandboxSpec } from "../driver.ts"
import { createSandboxes } from "../sandboxes.ts"
import { anySignal, specOf, temporaryFolder, until } from "../testing.ts"
import type { EgressOptions } from "./egress.ts"
import type { EgressRecord } from "./journal.ts"
import { inOwnNetwork, runInOwnNetwork } from "./own-network.ts"

/** What gets out of a sandbox here must not get out of the test. */
const test = (name: string, run: () => Promise<void>) => void (inOwnNetwork && inAnyNetwork(name, run))
if (!inOwnNetwork)
  inAnyNetwork("the way outwards, in a network of the test's own", () => runInOwnNetwork(import.meta.filename))

/** bubblewrap, unless the test of another driver runs this file. */
const { AUTONOMIS_TEST_DOCKER_SOCKET: dockerSocket } = process.env
const TESTED = dockerSocket ? ({ kind: "docker", dockerSocket } as const) : ({ kind: "bubblewrap" } as const)

const secrets = async () => ({
  env: {},
  redactor: createRedactor([{ name: "TOKEN", value: "a-very-secret-value" }]),
})

interface Inside {
  bash(command: string, stdin?: string): Promise<string>
  /** The same with what is told of refusals. */
  whole(command: string): Promise<string>
  port: number
  asked: string[]
  /** What the one server was asked for. */
  seen: string[]
  counts(): { connections: number; refused: number; bytesIn: number; bytesOut: number }
}

const withoutNotes = (output: string) => output.replace(/\n\[network: [^\n]*\]\n/g, "")

/** A sandbox whose internet is one server on this machine's loopback, reached under the names that the test gives it. */
async function withInternet(
  names: Record<string, string[]>,
  options: Partial<EgressOptions>,
  changes: Partial<SandboxSpec>,
  use: (inside: Inside) => Promise<void>,
): Promise<void> {
  const answer = async (request: IncomingMessage) => {
    const body = (await request.toArray()).join("")
    return `${request.method} ${request.headers.host?.split(":")[0]} ${request.url} ${body} ${request.headers["x-many"] ?? ""}`.trim()
  }
  const seen: string[] = []
  const web = createHttp((request, response) => {
    seen.push(request.url ?? "")
    if (request.url === "/redirect")
      return void response.writeHead(302, { location: "http://metadata.test/latest" }).end()
    if (request.url === "/big") return void response.end(Buffer.alloc(3_000_000, "x"))
    const after = Number(/^\/after-(\d+)$/.exec(request.url ?? "")?.[1] ?? 0)
    void answer(request).then((text) => setTimeout(() => response.end(text), after).unref())
  })
  web.listen(0, "127.0.0.1")
  await once(web, "listening")
  const { port } = web.address() as AddressInfo
  const asked: string[] = []
  await using folder = await temporaryFolder()
  await using sandboxes = createSandboxes({
    ...TESTED,
    dataDir: folder.path,
    log: silentLogger,
    egress: {
      ports: [port],
      lookup: async (name) => {
        asked.push(name)
        return names[name] ?? Promise.reject(new Error("unknown"))
      },
      // Here the one address that counts as the internet.
      isAllowed: (ip) => ip === "127.0.0.1",
      ...options,
    },
  })
  const hands = sandboxes.hands(specOf({ network: "egress", ...changes }), { secrets })
  const inside = async (command: string, stdin?: string) =>
    (await hands.exec({ command, ...(stdin === undefined ? {} : { stdin }) }, () => {}, anySignal())).output
  try {
    await use({
      port,
      asked,
      seen,
      counts: () => sandboxes.status().egress,
      bash: async (command, stdin) => withoutNotes(await inside(command, stdin)),
      whole: inside,
    })
  } finally {
    web.closeAllConnections()
    web.close()
  }
}

test("curl, Node's fetch, Python and a CONNECT tunnel reach a public name through the proxy, and all is counted", () =>
  withInternet({ "site.test": ["127.0.0.1"] }, {}, {}, async ({ bash, port, counts, seen }) => {
    const url = `http://site.test:${port}`
    assert.equal(await bash(`curl -s ${url}/a?b=1`), "GET site.test /a?b=1")
    assert.equal(await bash(`curl -s -d body -H 'X-Many: 1' ${url}/post`), "POST site.test /post body 1")
    assert.equal(await bash(`curl -s --proxytunnel ${url}/tunnel`), "GET site.test /tunnel")
    assert.equal(await bash(`curl -s -T - ${url}/chunked`, "streamed"), "PUT site.test /chunked streamed")
    assert.equal(
      await bash(`node -e "fetch('${url}/fetch').then(r=>r.text()).then(t=>process.stdout.write(t))"`),
      "GET site.test /fetch",
    )
    assert.equal(
      await bash(`python3 -c "import urllib.request as u; print(u.urlopen('${url}/py').read().decode(),end='')"`),
      "GET site.test /py",
    )
    assert.equal(
      await bash(`curl -s ${url}/big | wc -c; curl -s --proxytunnel ${url}/big | wc -c`),
      "3000000\n3000000\n",
    )
    const registries = `pip download --trusted-host site.test --disable-pip-version-check --no-cache-dir --retries 0 -i ${url}/simple nothing; npm view --fetch-retries 0 --registry ${url}/npm nothing`
    const said = await bash(`git ls-remote ${url}/repo; ${registries}`)
    for (const path of ["/repo/info/refs?service=git-upload-pack", "/simple/nothing/", "/npm/nothing"])
      assert.ok(seen.includes(path), `${path}: ${said}`)
    assert.equal((await bash(`for i in $(seq 40); do curl -s ${url}/$i & done | grep -c ''; wait`)).trim() !== "", true)
    const { connections, bytesIn, refused } = counts()
    assert.ok(connections >= 47 && bytesIn > 6_000_000 && refused === 0, JSON.stringify(counts()))
  }))

test("there is no other way out, and nothing of this machine's", () =>
  withInternet({}, {}, {}, async ({ bash, port }) => {
    assert.equal(
      await bash("ls /sys/class/net 2>/dev/null; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '"),
      "lo\n",
    )
    assert.match(await bash(`curl -s --noproxy '*' -m 3 http://127.0.0.1:${port}/ || echo refused $?`), /refused 7/)
    assert.match(await bash(`curl -s --noproxy '*' -m 3 http://198.51.100.7/ || echo refused $?`), /refused 7/)
  }))

test("addresses that are not public are refused in every spelling, by name and by number, before any connection", () =>
  withInternet(
    { "evil.test": ["169.254.169.254"], "mixed.test": ["10.0.0.1", "::1"], "self.test": ["127.0.0.1"] },
    { isAllowed: () => false },
    {},
    async ({ bash, port, counts }) => {
      const hosts = [
        "evil.test",
        "mixed.test",
        "self.test",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "localhost",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "metadata.google.internal",
      ]
      for (const host of hosts) {
        for (const tunnel of ["", "--proxytunnel"]) {
          const said = await bash(
            `curl -s -g ${tunnel} -x http://127.0.0.1:3128 --noproxy '' -o /dev/null -w '%{http_code} %{http_connect}' http://${host}:${port}/`,
          )
          assert.match(said, /^(403|502) 000|^000 (403|502)/, `${host} ${tunnel}: ${said}`)
        }
      }
      assert.equal(counts().connections, 0)
      assert.ok(counts().refused >= 2 * hosts.length)
    },
  ))

test("a redirect is judged anew, and a name that changes its answer is looked up once for each connection", () => {
  let times = 0
  return withInternet(
    { "metadata.test": ["169.254.169.254"] },
    {
      lookup: async (name) =>
        name === "metadata.test" ? ["169.254.169.254"] : times++ === 0 ? ["127.0.0.1"] : ["169.254.169.254"],
    },
    {},
    async ({ bash, port }) => {
      assert.match(
        await bash(`curl -s -L -o /dev/null -w '%{http_code} %{num_redirects}' http://rebind.test:${port}/redirect`),
        /^403 1/,
      )
      assert.match(await bash(`curl -s -o /dev/null -w '%{http_code}' http://rebind.test:${port}/`), /^403/)
      assert.equal(times, 2)
    },
  )
})

test("ports and domains are kept to: the plan's lists, and the agent's that narrow them", () =>
  withInternet(
    {
      "a.good.test": ["127.0.0.1"],
      "bad.good.test": ["127.0.0.1"],
      "other.test": ["127.0.0.1"],
      "notgood.test": ["127.0.0.1"],
    },
    {
      policies: async () => [
        { allow: null, deny: ["other.test"] },
        { allow: ["good.test"], deny: ["bad.good.test"] },
      ],
    },
    {},
    async ({ bash, port, asked }) => {
      const code = (host: string, at = port) => bash(`curl -s -o /dev/null -w '%{http_code}' http://${host}:${at}/`)
      assert.equal(await code("a.good.test"), "200")
      assert.equal(await code("A.GOOD.test."), "200")
      for (const host of ["bad.good.test", "other.test", "notgood.test", "BAD.good.TEST"])
        assert.equal(await code(host), "403", host)
      const connect = (host: string) =>
        bash(
          `exec 5<>/dev/tcp/127.0.0.1/3128; printf 'CONNECT ${host}:${port} HTTP/1.1\\r\\n\\r\\n' >&5; timeout 5 head -1 <&5`,
        )
      assert.match(await connect("a.good.test.."), / 200 /)
      for (const host of ["bad.good.test", "bad.good.test.", "bad.good.test..", "Bad.Good.Test...", "bad..good.test"])
        assert.match(await connect(host), / (403|502) /, host)
      assert.equal(await code("a.good.test", 22), "403")
      assert.match(
        await bash(`curl -s -x http://127.0.0.1:3128 --proxytunnel http://a.good.test:25/ -w '%{http_connect}'`),
        /403/,
      )
      assert.ok(
        asked.every((name) => ["a.good.test", "bad..good.test"].includes(name)),
        "a refused name is not even looked up",
      )
    },
  ))

test("where domains are denied an address by its number is refused, and a change of the lists cuts what is open", async () => {
  let policies: EgressPolicy[] | null = [{ allow: null, deny: [] }]
  await withInternet(
    { "site.test": ["127.0.0.1"], "slow.test": ["127.0.0.1"] },
    { policies: async () => policies, judgeEveryMs: 50, connectMs: 200 },
    {},
    async ({ bash, port, counts }) => {
      const ask = (host: string) => bash(`curl -s -o /dev/null -w '%{http_code}' http://${host}:${port}/`)
      // Longer than a connection may take to be made.
      assert.equal(await bash(`curl -s http://slow.test:${port}/after-600`), "GET slow.test /after-600")
      assert.equal(
        await bash(`curl -s -x http://127.0.0.1:3128 --noproxy '' http://127.0.0.1:${port}/`),
        "GET 127.0.0.1 /",
      )
      policies = [{ allow: null, deny: ["bad.test"] }]
      assert.match(
        await bash(`curl -s -x http://127.0.0.1:3128 --noproxy '' http://127.0.0.1:${port}/`),
        /only names may be reached/,
      )
      assert.equal(await ask("site.test"), "200")

      const open = bash(`curl -s --proxytunnel http://slow.test:${port}/after-60000; echo ended $?`)
      await until("it is open", () => counts().connections === 4)
      policies = [{ allow: null, deny: ["slow.test"] }]
      assert.match(await open, /^ended (52|56)/)
      assert.equal(await ask("site.test"), "200")
      policies = null
      assert.match(await bash(`curl -s http://site.test:${port}/`), /no network/)
    },
  )
})

test("the server's own names are refused, and whatever name leads to their addresses", () => {
  const names = { "site.test": ["127.0.0.1"], "other.test": ["127.0.0.2"], "agents.test": ["127.0.0.1"] }
  let own = ["agents.test", "0.0.0.0"]
  return withInternet(names, { own: () => own, isAllowed: (ip) => ip.startsWith("127.0.0.") }, {}, async (inside) => {
    const { bash, port } = inside
    const ask = (host: string) => bash(`curl -s http://${host}:${port}/`)
    assert.match(await ask("agents.test"), /agents\.test is this server itself/)
    assert.match(await ask("AGENTS.test."), /this server itself/)
    assert.match(await ask("site.test"), /not a public address/)
    assert.match(await ask("other.test"), /could not be reached/)
    own = ["elsewhere.test"]
    assert.equal(await ask("site.test"), "GET site.test /")
  })
})

test("what went where is reported by destination: connections, refusals with their reason, bytes both ways", async () => {
  const reported: EgressRecord[] = []
  const report = async (_owner: unknown, records: EgressRecord[]) => void reported.push(...records)
  const sum = (destination: string) =>
    reported
      .filter((record) => record.destination === destination)
      .reduce(
        (all, { connections, refused, bytesIn, bytesOut }) => ({
          ...{ connections: all.connections + connections, refused: all.refused + refused },
          ...{ bytesIn: all.bytesIn + bytesIn, bytesOut: all.bytesOut + bytesOut },
        }),
        { connections: 0, refused: 0, bytesIn: 0, bytesOut: 0 },
      )
  let at = ""
  await withInternet({ "site.test": ["127.0.0.1"] }, { report }, {}, async ({ bash, port }) => {
    at = `site.test:${port}`
    await bash(`for i in 1 2 3; do curl -s -o /dev/null http://${at}/big; done`)
    await bash(`head -c 500000 /dev/zero | curl -s --proxytunnel -o /dev/null -T - http://${at}/up`)
    await bash(`curl -s http://${at.replace(/\d+$/, "25")}/?a-secret; curl -s http://nowhere.test:${port}/`)
  })
  const { connections, refused, bytesIn, bytesOut } = sum(at)
  assert.deepEqual([connections, refused], [4, 0])
  assert.ok(
    bytesIn > 9_500_000 && bytesIn < 9_510_000 && bytesOut > 500_000 && bytesOut < 510_000,
    `${bytesIn} ${bytesOut}`,
  )
  const ofPort25 = reported.find(({ destination }) => destination === "site.test:25")
  assert.match(ofPort25?.reason ?? "", /port 25 may not be reached/)
  assert.ok(!JSON.stringify(reported).includes("a-secret"))
})

test("why a connection was refused is told with the command that tried, masked and in printable signs", () => {
  const names = { "site.test": ["127.0.0.1"] }
  const policies = async () => [{ allow: null, deny: ["denied.test"] }]
  return withInternet(names, { policies }, {}, async ({ whole, port }) => {
    assert.equal(
      await whole(`curl -s https://denied.test/ || echo failed $?`),
      "failed 56\n\n[network: refused denied.test:443: port 443 may not be reached (allowed: PORT)]\n".replace(
        "PORT",
        `${port}`,
      ),
    )
    assert.equal(
      await whole(`curl -s -o /dev/null http://denied.test:${port}/`),
      `\n[network: refused denied.test:${port}: denied.test is denied by policy]\n`,
    )
    assert.equal(await whole(`curl -s http://site.test:${port}/`), "GET site.test /")
    assert.match(
      await whole(`curl -s http://a-very-secret-value.denied.test:${port}/ -o /dev/null`),
      /^\n\[network: refused \[secret TOKEN\]\.denied\.test:\d+: \[secret TOKEN\]\.denied\.test is denied by policy\]\n$/,
    )
    const many = await whole(`for i in 1 2 3 4 5; do curl -s -o /dev/null http://d$i.denied.test:${port}/; done`)
    assert.match(many, /5 connections were refused, the last of them/)
    assert.equal(many.match(/network: refused/g)?.length, 3)
    assert.match(
      await whole(
        `printf 'CONNECT \\033[31m\\377.test:${port} HTTP/1.1\\r\\n\\r\\n' > /dev/tcp/127.0.0.1/3128; sleep 0.3`,
      ),
      /^(\n\[network: refused [\x20-\x7e]+\]\n)?$/,
    )
    assert.match(
      await whole(`python3 -c "import urllib.request as u; u.urlopen('https://denied.test:${port}')" 2>&1 | tail -1`),
      /Tunnel connection failed: 403 denied\.test is denied by policy/,
    )
  })
})

test("what is no proxy request is refused, and a flood of connections is held to its number", () =>
  withInternet({ "site.test": ["127.0.0.1"] }, {}, {}, async ({ bash, port }) => {
    const raw = (text: string) =>
      bash(`exec 5<>/dev/tcp/127.0.0.1/3128; printf '${text}' >&5; timeout 3 head -1 <&5 | tr -d '\\r'`)
    assert.match(await raw("GET / HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n"), /403/)
    assert.match(await raw("GET ftp://site.test/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"), /403/)
    assert.match(await raw(`GET http://u:p@site.test:${port}/ HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n`), /403/)
    assert.match(await raw("CONNECT site.test HTTP/1.1\\r\\n\\r\\n"), /403|400/)
    assert.match(await raw("CONNECT a@b:80 HTTP/1.1\\r\\n\\r\\n"), /403|400/)
    assert.equal(await raw("nonsense\\r\\n\\r\\n"), "")
    await bash(
      "node -e \"for(let i=0;i<500;i++)require('net').connect(3128,'127.0.0.1').on('error',()=>{});setTimeout(()=>process.exit(),300)\"",
    )
    assert.equal(
      await bash(`curl -sS --retry 8 --retry-all-errors --retry-delay 1 http://site.test:${port}/still 2>&1`),
      "GET site.test /still",
    )
  }))

test("without leave to go out there is no proxy either", () =>
  withInternet({ "site.test": ["127.0.0.1"] }, {}, { network: "none" }, async ({ bash, port, counts }) => {
    assert.match(
      await bash(`curl -s -m 3 -x http://127.0.0.1:3128 http://site.test:${port}/ || echo refused $?`),
      /refused 7/,
    )
    assert.equal(await bash("env | grep -ci proxy"), "0\n")
    assert.equal(counts().connections, 0)
  }))

test("a destination that hangs or breaks off is told, and closing the sandbox closes its connections", async () => {
  const sockets = new Set<unknown>()
  const tcp = createTcp((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    socket.once("close", () => sockets.delete(socket))
    socket.once("data", (data) => {
      if (String(data).includes("/break")) socket.destroy()
    })
  })
  tcp.listen(0, "127.0.0.1")
  await once(tcp, "listening")
  const { port } = tcp.address() as AddressInfo
  try {
    await withInternet({ "site.test": ["127.0.0.1"] }, { ports: [port] }, {}, async ({ bash }) => {
      assert.equal(await bash(`curl -s -o /dev/null -w '%{http_code}' http://site.test:${port}/break`), "502")
      await bash(`(curl -s http://site.test:${port}/hang > /dev/null) & sleep 0.3`)
      assert.equal(sockets.size, 1)
    })
    assert.equal(sockets.size, 0)
  } finally {
    tcp.close()
  }
})
