import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { after, test } from "node:test"
import { createEngine } from "../server/src/sandboxes/drivers/docker/engine.ts"
import { dockerObstacle, type TestDocker, testDocker } from "../test/docker.ts"
import { cleanEnvironment, ROOT, startServer, type TestServer } from "../test/server.ts"
import { until } from "../test/until.ts"

const obstacle = dockerObstacle()
let docker: Promise<TestDocker> | null = null
const daemon = () => {
  docker ??= testDocker()
  return docker
}
after(async () => (await docker)?.[Symbol.asyncDispose]())

const environment = (socket: string) => ({ AUTONOMIS_SANDBOX: "docker", DOCKER_HOST: `unix://${socket}` })

async function account(server: TestServer): Promise<string> {
  const { body } = await server.call("POST", "/users", { user: "ada" })
  await server.call("POST", "/users/ada/agents", { agents: [{ name: "manager" }, { name: "other" }] })
  return body.api_key
}

async function ask(server: TestServer, key: string, content: string, agent = "manager") {
  const asked = { messages: [{ role: "user", content }] }
  const answer = await server.call("POST", `/users/ada/agents/${agent}/chat`, asked, key)
  assert.equal(answer.status, 200, JSON.stringify(answer.body))
  return answer.body
}

const bash = (command: string) => `/tool bash ${JSON.stringify({ command })}`

/** How many containers, running or not, see something of that data folder. */
async function containersOf(dataDir: string, socket: string): Promise<number> {
  const found = await createEngine(socket).call("GET", "/containers/json", { query: { all: "1" } })
  assert.ok(Array.isArray(found))
  return found.filter((container) => JSON.stringify(container).includes(`${dataDir}/`)).length
}

test("without a daemon the server starts, chats work, and a tool call answers with the sentence", async () => {
  await using server = await startServer({ env: environment("/nonexistent/docker.sock") })
  const key = await account(server)
  await ask(server, key, "Who are you?")
  const [call] = (await ask(server, key, bash("echo ran"))).tool_calls
  assert.equal(call.is_error, true)
  assert.match(call.result, /no Docker daemon answers; (start|install) it with/)
  const failed = /"message":"sandbox self-test failed".*no Docker daemon answers/
  await until(() => failed.test(server.output().stderr), "the log says so too")
  assert.equal((await server.call("DELETE", "/users/ada/agents/other", undefined, key)).status, 204)
})

test("the image's maker asks for the daemon first, and says in one line what is missing", () => {
  for (const [host, words] of [
    ["unix:///nonexistent/docker.sock", /^agents cannot run commands: no Docker daemon answers; .*`\n$/],
    ["tcp://127.0.0.1:9", /^DOCKER_HOST must be the unix socket of a daemon on this machine.*\n$/],
  ] as const) {
    const made = spawnSync(process.execPath, [join(ROOT, "scripts/sandbox-image.ts")], {
      env: { ...cleanEnvironment(), DOCKER_HOST: host },
      encoding: "utf8",
    })
    assert.equal(made.status, 1)
    assert.match(made.stderr, words)
    assert.equal(made.stdout, "")
  }
})

test("an agent works in a container, which outlives a crash of the server and no orderly stop", {
  ...(obstacle === null ? {} : { skip: obstacle }),
}, async () => {
  const { socket } = await daemon()
  const env = environment(socket)
  const crashed = await startServer({ env })
  const { dataDir } = crashed
  const containers = () => containersOf(dataDir, socket)
  try {
    const key = await account(crashed)
    const first = await ask(crashed, key, bash("echo kept > file; setsid sleep 93.3 & id -u; uname -n"))
    assert.match(first.tool_calls[0].result, /^10001\nsandbox\n/)
    await ask(crashed, key, bash("echo there"), "other")
    const read = await crashed.call("GET", "/users/ada/agents/manager/files/file", undefined, key)
    assert.equal(read.status, 200)
    assert.equal(await containers(), 2)
    const status = await crashed.call("GET", "/status")
    assert.equal(status.body.sandbox.driver, "docker")
    for (const held of ["seccomp", "no network", "read-only system", "memory limit"])
      assert.ok(status.body.sandbox.holds.includes(held), held)
    await crashed.kill9()

    await using server = await startServer({ env, dataDir })
    const again = await ask(server, key, bash("pgrep -fc 'sleep 93.3$'; cat file"))
    assert.match(again.tool_calls[0].result, /^1\nkept\n/)
    assert.equal((await server.call("DELETE", "/users/ada/agents/other", undefined, key)).status, 204)
    await until(async () => (await containers()) === 1, "the deleted agent's container is gone")
    await server.stop()
    await until(async () => (await containers()) === 0, "nothing is left")
  } finally {
    await crashed[Symbol.asyncDispose]()
    rmSync(dataDir, { recursive: true, force: true })
  }
})
