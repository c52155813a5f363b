import assert from "node:assert/strict"
import { once } from "node:events"
import { createServer, request, type Server } from "node:http"
import { join } from "node:path"
import { after, test } from "node:test"
import { dockerObstacle, type TestDocker, testDocker } from "../../../../../test/docker.ts"
import { AppError } from "../../../lib/errors.ts"
import { silentLogger } from "../../../lib/log.ts"
import { connectGuest } from "../../guest-client.ts"
import { anySignal, run, specOf, temporaryFolder } from "../../testing.ts"
import { createDockerDriver } from "./docker.ts"
import { createEngine, EngineError } from "./engine.ts"
import { problemOf } from "./problems.ts"

const obstacle = dockerObstacle()
const withDaemon = obstacle === null ? {} : { skip: obstacle }
let docker: Promise<TestDocker> | null = null
const daemon = () => {
  docker ??= testDocker()
  return docker
}
after(async () => (await docker)?.[Symbol.asyncDispose]())

/** A daemon that answers what it is told, or passes on to the real one. */
async function playDaemon(
  socket: string,
  answer: (path: string) => { status: number; body: unknown } | string,
): Promise<Server> {
  const server = createServer((asked, reply) => {
    const played = answer(asked.url ?? "")
    if (typeof played !== "string") return void reply.writeHead(played.status).end(JSON.stringify(played.body))
    const { method, url: path, headers } = asked
    const passed = request({ socketPath: played, method, path, headers, agent: false }, (answered) => {
      reply.writeHead(answered.statusCode ?? 502, answered.headers)
      reply.flushHeaders()
      answered.pipe(reply)
    })
    passed.on("error", () => reply.destroy())
    reply.on("close", () => passed.destroy())
    asked.pipe(passed)
  })
  server.listen(socket)
  await once(server, "listening")
  return server
}

const driverAt = (dataDir: string, socket: string) => createDockerDriver({ dataDir, log: silentLogger, socket })

test("without a daemon the report and each opening say so, with the command to run; what ends is taken as ended", async () => {
  await using folder = await temporaryFolder()
  await using driver = driverAt(folder.path, join(folder.path, "none.sock"))
  const { usable, problem } = await driver.selfTest(anySignal())
  assert.equal(usable, false)
  assert.match(
    problem ?? "",
    /no Docker daemon answers; (start|install) it with `(systemctl start docker|apt-get install docker\.io)`$/,
  )
  const refused = (error: unknown) =>
    error instanceof AppError && error.code === "sandbox_unavailable" && error.message === problem
  await assert.rejects(driver.open(specOf(), anySignal()), refused)
  const spec = specOf()
  await driver.files(spec).write("kept", Buffer.from("x"), { maxBytes: 9 }, anySignal())
  assert.deepEqual(await driver.list(anySignal()), [])
  await driver.destroy(spec, anySignal())
  assert.deepEqual(await driver.files(spec).list("", { limit: 9 }, anySignal()), [])
})

test("a daemon that is too old, forbidden or rootless, or has no image, is named with the cure", async () => {
  await using folder = await temporaryFolder()
  const versions = { ApiVersion: "1.41", MinAPIVersion: "1.12" }
  const played: [string, Record<string, { status: number; body: unknown }>, RegExp][] = [
    ["old", { "/version": { status: 200, body: { ApiVersion: "1.40", MinAPIVersion: "1.12" } } }, /older than 20\.10/],
    ["rootless", { "/info": { status: 200, body: { SecurityOptions: ["name=rootless"] } } }, /rootless/],
    ["image", { "/images/": { status: 404, body: { message: "No such image" } } }, /`npm run sandbox-image`$/],
    ["broken", { "/info": { status: 500, body: { message: "no" } } }, /answered 500/],
  ]
  for (const [name, answers, words] of played) {
    const socket = join(folder.path, `${name}.sock`)
    const server = await playDaemon(socket, (path) => {
      const told = Object.entries(answers).find(([part]) => path.includes(part))?.[1]
      return told ?? { status: 200, body: path === "/version" ? versions : {} }
    })
    await using driver = driverAt(folder.path, socket)
    assert.match((await driver.selfTest(anySignal())).problem ?? "", words)
    server.close()
  }
  assert.match(problemOf(new EngineError("forbidden", "connect EACCES")), /`usermod -aG docker \w+`/)
})

test("a newer daemon is asked by the oldest version that it takes, an older one by that of 20.10", async () => {
  await using folder = await temporaryFolder()
  for (const [least, asked] of [
    ["1.12", "/v1.41/info"],
    ["1.44", "/v1.44/info"],
  ]) {
    const socket = join(folder.path, `${least}.sock`)
    const paths: string[] = []
    const server = await playDaemon(socket, (path) => {
      paths.push(path)
      return { status: 200, body: { ApiVersion: "1.52", MinAPIVersion: least } }
    })
    await createEngine(socket).call("GET", "/info")
    assert.deepEqual(paths, ["/version", asked])
    server.close()
  }
})

test(
  "a daemon that starts, or gets its image, after the server did is found without a restart",
  withDaemon,
  async () => {
    await using folder = await temporaryFolder()
    const real = await daemon()
    const socket = join(folder.path, "later.sock")
    await using driver = driverAt(folder.path, socket)
    assert.match((await driver.selfTest(anySignal())).problem ?? "", /no Docker daemon answers/)
    let hasImage = false
    const server = await playDaemon(socket, (path) =>
      hasImage || !path.includes("/images/") ? real.socket : { status: 404, body: { message: "No such image" } },
    )
    try {
      assert.match((await driver.selfTest(anySignal())).problem ?? "", /npm run sandbox-image/)
      hasImage = true
      const spec = specOf()
      const client = await connectGuest(await driver.open(spec, anySignal()))
      assert.equal((await run(client, "echo works")).text, "works\n")
      const { usable, programs } = await driver.selfTest(anySignal())
      assert.equal(usable, true)
      for (const name of ["bash", "git", "python3", "node", "curl"]) assert.ok(programs?.has(name), name)
      await driver.stop(spec.id, anySignal())
      server.close()
      server.closeAllConnections()
      await assert.rejects(driver.open(specOf(), anySignal()), /no Docker daemon answers/)
      assert.equal((await driver.selfTest(anySignal())).usable, false)
    } finally {
      server.close()
    }
  },
)

test("a guest that memory does not suffice for is told so", withDaemon, async () => {
  await using folder = await temporaryFolder()
  await using driver = driverAt(folder.path, (await daemon()).socket)
  const limits = { memoryBytes: 8 * 1024 * 1024, cpus: 1, pids: 64, storageBytes: null }
  await assert.rejects(driver.open(specOf({ limits }), anySignal()), /did not start: killed: memory limit 0\.01 GiB/)
})
