import assert from "node:assert/strict"
import { readdir, readFile } from "node:fs/promises"
import { after, test } from "node:test"
import { dockerObstacle, type TestDocker, testDocker } from "../../../test/docker.ts"
import { silentLogger } from "../lib/log.ts"
import { createRedactor } from "../lib/redact.ts"
import type { SandboxSpec } from "./driver.ts"
import { createDockerDriver } from "./drivers/docker/docker.ts"
import { createEngine } from "./drivers/docker/engine.ts"
import { connectGuest } from "./guest-client.ts"
import { createSandboxes } from "./sandboxes.ts"
import { anySignal, crashedServer, run, specOf, temporaryFolder, until } from "./testing.ts"

const obstacle = dockerObstacle()
const withDaemon = obstacle === null ? {} : { skip: obstacle }
let shared: Promise<TestDocker> | null = null
const daemon = () => {
  shared ??= testDocker()
  return shared
}
after(async () => (await shared)?.[Symbol.asyncDispose]())

/** A server with these sandboxes open and a process in the background of each, killed with -9. */
async function crash(dataDir: string, specs: SandboxSpec[]): Promise<void> {
  const { socket } = await daemon()
  await crashedServer(
    "docker",
    { dataDir, socket },
    specs,
    `await run(client, "setsid sleep 91.1 & echo kept > /tmp/kept")
      run(client, "sleep 92.2").catch(() => {})
      while (!(await run(client, "ps -eo args")).text.includes("sleep 92.2\\n"));`,
  )
}

const ids = async (driver: { list(signal: AbortSignal): Promise<{ id: string }[]> }) =>
  (await driver.list(anySignal())).map(({ id }) => id).sort()

test(
  "a crashed server's container is taken over: its background goes on, its commands do not",
  withDaemon,
  async () => {
    await using folder = await temporaryFolder()
    const spec = specOf()
    await crash(folder.path, [spec])
    await using driver = createDockerDriver({
      dataDir: folder.path,
      log: silentLogger,
      socket: (await daemon()).socket,
    })
    assert.deepEqual(await driver.list(anySignal()), [{ id: spec.id, running: true }])
    const client = await connectGuest(await driver.open(spec, anySignal()))
    assert.equal((await run(client, "cat /tmp/kept; pgrep -fc 'sleep 91.1$'")).text, "kept\n1\n")
    await until("its command is gone", async () => (await run(client, "pgrep -fc 'sleep 92.2$'")).text === "0\n")
    assert.equal((await run(client, "echo a > /dev/stderr; cat", { stdin: Buffer.from("b") })).text, "a\nb")
  },
)

test("one that was made for other limits is replaced", withDaemon, async () => {
  await using folder = await temporaryFolder()
  const spec = specOf()
  await crash(folder.path, [spec])
  await using driver = createDockerDriver({ dataDir: folder.path, log: silentLogger, socket: (await daemon()).socket })
  const changed = { ...spec, limits: { ...spec.limits, pids: 99 } }
  const client = await connectGuest(await driver.open(changed, anySignal()))
  assert.equal((await run(client, "ls /tmp/kept; pgrep -c sleep")).text.split("\n").at(-2), "0")
  assert.equal((await driver.list(anySignal())).length, 1)
})

test(
  "what a crashed server left is ended at once for agents that are gone, for others when nobody has used it",
  withDaemon,
  async () => {
    await using folder = await temporaryFolder()
    const { socket } = await daemon()
    const [used, unused, removed, stopped] = [specOf(), specOf(), specOf(), specOf()]
    const suspended = specOf({ userId: "usr_other" })
    await crash(folder.path, [used, unused, removed, stopped, suspended])
    const options = { kind: "docker", dataDir: folder.path, log: silentLogger, dockerSocket: socket } as const
    await using looking = createDockerDriver({ dataDir: folder.path, log: silentLogger, socket })
    const sandboxes = createSandboxes({ ...options, idleMs: 4_000 })
    const owner = new Map([used, unused, stopped, suspended].map(({ id, userId }) => [id, userId]))
    await sandboxes.reap(async (id) => owner.get(id) ?? null, anySignal())
    assert.deepEqual(await ids(looking), [used.id, unused.id, stopped.id, suspended.id].sort())
    await sandboxes.stopUser("usr_other")
    await sandboxes.stop(stopped.id)
    assert.deepEqual(await ids(looking), [used.id, unused.id].sort())
    const hands = sandboxes.hands(used, { secrets: async () => ({ env: {}, redactor: createRedactor([]) }) })
    assert.equal((await hands.exec({ command: "cat /tmp/kept" }, () => {}, anySignal())).output, "kept\n")
    const busy = hands.exec({ command: "sleep 6; echo done" }, () => {}, anySignal())
    await until("only the one that is used is left", async () => (await ids(looking)).join() === used.id)
    assert.equal((await busy).output, "done\n")
    await sandboxes[Symbol.asyncDispose]()
    assert.deepEqual(await ids(looking), [])
  },
)

const rounds = process.env.TEST_LONG ? 200 : 8

test(
  `${rounds} openings and closings leave no container, mount, control group, descriptor or file behind`,
  withDaemon,
  async () => {
    await using folder = await temporaryFolder()
    const { socket, pid } = await daemon()
    const driver = createDockerDriver({ dataDir: folder.path, log: silentLogger, socket })
    await driver.selfTest(anySignal())
    const specs = [specOf(), specOf()]
    const made = new Set<string>()
    const traces = async () => {
      const mounts = await readFile(`/proc/${pid}/mountinfo`, "utf8")
      const groups = await readdir("/sys/fs/cgroup", { recursive: true }).catch((): string[] => [])
      return {
        mounts: mounts.split("\n").filter((line) => line.includes(folder.path)).length,
        groups: groups.filter((name) => [...made].some((id) => name.includes(id))).length,
        descriptors: (await readdir("/proc/self/fd")).length,
        containers: (await driver.list(anySignal())).length,
      }
    }
    const before = await traces()
    await Promise.all(
      specs.map(async (spec) => {
        for (let i = 0; i < rounds / specs.length; i++) {
          const stream = await driver.open(spec, anySignal())
          const client = await connectGuest(stream)
          made.add(await containerOf(socket, spec.id))
          await run(client, "sleep 80 & setsid sleep 80 & mkdir -p x; touch x/y")
          // Each third one dies instead of being stopped.
          if (i % 3 === 0) await run(client, "kill -9 $(pgrep -o node)").catch(() => {})
          await driver.stop(spec.id, anySignal())
          await stream.ended
        }
        await driver.destroy(spec, anySignal())
      }),
    )
    await until("nothing is left", async () => {
      const now = await traces()
      return (
        now.mounts <= before.mounts && now.groups === 0 && now.containers === 0 && now.descriptors <= before.descriptors
      )
    })
    assert.equal(made.size, rounds)
    const left = await readdir(folder.path, { recursive: true })
    assert.deepEqual(
      left.filter((name) => name.includes("agt_test")),
      [],
    )
    await driver[Symbol.asyncDispose]()
    assert.deepEqual(
      (await readdir(folder.path)).filter((name) => name === "docker"),
      [],
    )
  },
)

async function containerOf(socket: string, agent: string): Promise<string> {
  const filters = JSON.stringify({ label: [`autonomis.agent=${agent}`] })
  const found = await createEngine(socket).call("GET", "/containers/json", { query: { filters } })
  assert.ok(Array.isArray(found) && typeof found[0]?.Id === "string")
  return found[0].Id
}
