import assert from "node:assert/strict"
import { readdirSync, readFileSync } from "node:fs"
import { connect } from "node:net"
import { describe, test } from "node:test"
import { startServer, type TestServer } from "../test/server.ts"
import { until } from "../test/until.ts"

/** Every process whose environment names this server's data folder: npm, the server, and what they started. */
function processesOf(server: TestServer): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, "utf8").includes(`AUTONOMIS_DATA_DIR=${server.dataDir}\0`)
      } catch {
        return false
      }
    })
}

/** The process that listens: the child of npm's that runs node. */
function serverProcess(server: TestServer): number {
  const found = processesOf(server).find((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes("server/src/main.ts"),
  )
  assert.ok(found, "the server's own process")
  return found
}

async function exitOf(server: TestServer): Promise<number | NodeJS.Signals> {
  let how: { exit: number | NodeJS.Signals } | null = null
  void server.ended.then((exit) => {
    how = { exit }
  })
  return (await until((): { exit: number | NodeJS.Signals } | null => how, "the process ends", 20_000)).exit
}

describe("SIGTERM stops in order: npm start exits with 0 and no process is left", () => {
  const ways: [name: string, send: (server: TestServer) => void][] = [
    ["sent to npm start", (server) => process.kill(server.pid, "SIGTERM")],
    ["sent to its process group, so that the server gets it twice", (server) => process.kill(-server.pid, "SIGTERM")],
    ["sent to the server", (server) => process.kill(serverProcess(server), "SIGTERM")],
    [
      "sent five times",
      (server) => {
        for (let i = 0; i < 5; i++) process.kill(-server.pid, "SIGTERM")
      },
    ],
    ["Ctrl-C, which the server gets from the terminal and from npm", (server) => process.kill(-server.pid, "SIGINT")],
  ]
  for (const [name, send] of ways) {
    test(name, async () => {
      await using server = await startServer({ npm: true })
      send(server)
      assert.equal(await exitOf(server), 0, server.output().stderr)
      assert.deepEqual(processesOf(server), [])
    })
  }
})

test("connections that wait for nothing do not hold the stop up, and a stream is ended", async () => {
  await using server = await startServer()
  const { port, hostname } = new URL(server.url)
  const silent = connect(Number(port), hostname)
  await new Promise((resolve) => silent.once("connect", resolve))
  const kept = await fetch(`${server.url}/health`)
  await kept.text()
  const stream = await fetch(`${server.url}/api/v1/logs?follow=true`, {
    headers: { "X-API-Key": server.adminKey, Accept: "text/event-stream" },
  })
  assert.equal(stream.status, 200)
  const read = stream.text()
  const began = performance.now()
  assert.equal(await server.stop(), 0)
  await read
  silent.destroy()
  // The bounds for what is under way are 10 s and more; nothing was under way.
  assert.ok(performance.now() - began < 8000)
})
