import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { test as inAnyNetwork } from "node:test"
import { silentLogger } from "../../lib/log.ts"
import { createRedactor } from "../../lib/redact.ts"
import { createSandboxes } from "../sandboxes.ts"
import { anySignal, specOf, temporaryFolder } from "../testing.ts"
import type { EgressOptions } from "./egress.ts"
import { inOwnNetwork, runInOwnNetwork } from "./own-network.ts"

/** What gets out of a sandbox here must not get out of the test. */
const test = (name: string, run: () => Promise<void>) => void (inOwnNetwork && inAnyNetwork(name, run))
if (!inOwnNetwork)
  inAnyNetwork("the proxy's judgements, in a network of the test's own", () => runInOwnNetwork(import.meta.filename))

const NAMES: Record<string, string> = {
  "good.test": "93.184.216.34",
  "denied.test": "93.184.216.34",
  "elsewhere.example": "93.184.216.34",
  "metadata.test": "169.254.169.254",
  "private.test": "10.0.0.1",
  "host.test": "93.184.216.1",
  "agents.test": "93.184.216.40",
  "alias.test": "93.184.216.40",
}

/** Each way out, by what stops it. `OPEN` and `SHUT` stand for the ports that may be reached, and may not. */
const WAYS: Record<string, string[]> = {
  addresses: ["metadata.test:OPEN", "private.test:OPEN", "host.test:OPEN"],
  "own names": ["agents.test:OPEN", "alias.test:OPEN"],
  ports: ["good.test:SHUT"],
  lists: ["denied.test:OPEN", "elsewhere.example:OPEN", "93.184.216.34:OPEN"],
}

test("with a judgement of the proxy taken away its ways are open, and with all in place none is", async () => {
  const servers = [0, 0].map((port) =>
    createServer((request, response) => response.end(`reached ${request.headers.host}`)).listen(port),
  )
  await Promise.all(servers.map((server) => once(server, "listening")))
  const [open = 0, shut = 0] = servers.map((server) => (server.address() as AddressInfo).port)
  const whole: Partial<EgressOptions> = {
    ports: [open],
    own: () => ["agents.test"],
    policies: async () => [{ allow: ["test"], deny: ["denied.test"] }],
    lookup: async (name) => [NAMES[name] ?? ""],
  }
  const without: Record<string, Partial<EgressOptions>> = {
    nothing: {},
    addresses: { isAllowed: () => true },
    "own names": { own: () => [] },
    ports: { ports: [open, shut] },
    lists: { policies: async () => [] },
  }
  const places = Object.values(WAYS).flat()
  const tries = ["good.test:OPEN", ...places].map((place) => {
    const url = `http://${place.replace("OPEN", String(open)).replace("SHUT", String(shut))}/`
    return `{ curl -s ${url}; echo; curl -s --proxytunnel ${url}; echo; } | grep -c ^reached`
  })
  try {
    for (const [missing, change] of Object.entries(without)) {
      await using folder = await temporaryFolder()
      await using sandboxes = createSandboxes({
        ...{ kind: "bubblewrap", dataDir: folder.path, log: silentLogger },
        egress: { ...whole, ...change },
      })
      const hands = sandboxes.hands(specOf({ network: "egress" }), {
        secrets: async () => ({ env: {}, redactor: createRedactor([]) }),
      })
      const { output } = await hands.exec({ command: tries.join("\n") }, () => {}, anySignal())
      const reached = output.split("\n", tries.length).map(Number)
      assert.equal(reached.shift(), 2, "what is allowed is reached, by GET and by CONNECT")
      const ways = places.filter((_, i) => reached[i] === 2)
      assert.deepEqual(ways, WAYS[missing] ?? [], `without ${missing}`)
      assert.ok(
        reached.every((times) => times === 0 || times === 2),
        output,
      )
    }
  } finally {
    for (const server of servers) {
      server.closeAllConnections()
      server.close()
    }
  }
})
