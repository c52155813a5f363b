import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { test } from "node:test"
import { refusedStart, startServer, type TestServer } from "../test/server.ts"
import { until } from "../test/until.ts"
import { plansFile } from "./plans-file.ts"

const MIB = 1024 * 1024

/** Plans with so much storage for whoever begins. */
const plansWith = (storageBytes: number) =>
  plansFile((tier, limits) => (tier === "free" ? { ...limits, storage_bytes: storageBytes } : limits))

async function account(server: TestServer, user: string): Promise<void> {
  await server.call("POST", "/users", { user, tier: "free" })
  await server.call("POST", `/users/${user}/agents`, { agents: [{ name: "manager" }, { name: "other" }] })
}

async function bash(server: TestServer, path: string, command: string): Promise<string> {
  const content = `/tool bash ${JSON.stringify({ command })}`
  const { status, body } = await server.call("POST", `${path}/chat`, { messages: [{ role: "user", content }] })
  assert.equal(status, 200, JSON.stringify(body))
  return body.tool_calls[0].result
}

const loops = (folder: string) =>
  execFileSync("/usr/sbin/losetup", ["-a"], { encoding: "utf8" })
    .split("\n")
    .filter((line) => line.includes(`${folder}/`)).length

async function holdsOf(server: TestServer): Promise<string[]> {
  return until(async () => {
    const { holds } = (await server.call("GET", "/status")).body.sandbox
    return holds.length > 0 && holds
  }, "the sandbox has been tried")
}

const FILL = "for i in $(seq 200); do head -c 1M /dev/zero > f$i || break; done; du -sm . | cut -f1"

test("a user's agents share an exact disk: it survives a crash, and goes with the user", async (t) => {
  using plans = plansWith(32 * MIB)
  const env = { AUTONOMIS_PLANS_FILE: plans.path }
  const crashed = await startServer({ env })
  const { dataDir } = crashed
  try {
    const holds = await holdsOf(crashed)
    if (!holds.includes("disk quota (images)")) {
      assert.ok(holds.includes("disk watch"), holds.join())
      await crashed.stop()
      return t.skip("no image can be mounted here")
    }
    const passed = /"message":"sandbox self-test passed".*disk quota \(images\)/
    await until(() => passed.test(crashed.output().stderr), "the log says so too")
    await account(crashed, "ada")
    await account(crashed, "bob")
    const ada = "/users/ada/agents"
    assert.equal((await crashed.call("PUT", `${ada}/manager/files/kept.txt`, "by the API")).status, 201)
    const full = await bash(crashed, `${ada}/manager`, FILL)
    assert.match(full, /No space left on device\n3[1-3]\n[\s\S]*the disk is full: storage limit 32 MiB/)
    assert.match(await bash(crashed, `${ada}/other`, "head -c 1M /dev/zero > x"), /No space left on device/)
    const refused = await crashed.call("PUT", `${ada}/other/files/up.txt`, "x".repeat(1000))
    assert.deepEqual([refused.status, refused.body.code], [403, "plan_limit"])
    assert.match(await bash(crashed, "/users/bob/agents/manager", "head -c 9M /dev/zero > x; echo fine"), /^fine/)
    await bash(crashed, `${ada}/manager`, "rm f*; echo by a command > other.txt; sync")
    await crashed.kill9()

    await using server = await startServer({ env, dataDir })
    const read = async (name: string) => (await server.call("GET", `${ada}/manager/files/${name}`)).body
    assert.deepEqual([await read("kept.txt"), await read("other.txt")], ["by the API", "by a command\n"])
    assert.equal((await server.call("PUT", `${ada}/other/files/up.txt`, "x".repeat(1000))).status, 201)
    assert.match(await bash(server, `${ada}/manager`, "cat kept.txt"), /^by the API/)
    assert.equal((await server.call("DELETE", `${ada}/other`)).status, 204)
    assert.equal((await server.call("DELETE", "/users/bob")).status, 204)
    await until(() => readdirSync(join(dataDir, "users")).length === 1, "bob's folder is gone")
    await until(() => readdirSync(join(dataDir, "trash")).length === 0, "from the trash too")
    await until(() => loops(dataDir) <= 1, "bob's disk is gone")
    await account(server, "bob")
    assert.match(await bash(server, "/users/bob/agents/manager", "ls; echo new"), /^new/)
    await server.stop()
    await until(() => loops(dataDir) === 0, "no loop device is left")
    assert.doesNotMatch(readFileSync("/proc/mounts", "utf8"), new RegExp(dataDir))
  } finally {
    await crashed.kill9()
    rmSync(dataDir, { recursive: true, force: true })
  }
})

test("with the watch in its place, commands that pass the storage are ended, and the start says so", async () => {
  using plans = plansWith(16 * MIB)
  await using server = await startServer({ env: { AUTONOMIS_PLANS_FILE: plans.path, AUTONOMIS_DISK_QUOTA: "watch" } })
  const holds = await holdsOf(server)
  assert.ok(holds.includes("disk watch") && !holds.includes("disk quota (images)"), holds.join())
  await account(server, "ada")
  const told = await bash(
    server,
    "/users/ada/agents/manager",
    "for i in $(seq 2000); do head -c 500K /dev/zero > f$i; sleep 0.01; done; echo all",
  )
  assert.match(told, /killed: storage limit 16 MiB/)
  const notExact = /no exact disk quota here \(AUTONOMIS_DISK_QUOTA is watch\)/
  await until(() => notExact.test(server.output().stderr), "the start says so")
})

test("a disk for each user is not promised where there is no sandbox that could have one", async () => {
  const { code, stderr } = await refusedStart({ env: { AUTONOMIS_DISK_QUOTA: "image", AUTONOMIS_SANDBOX: "none" } })
  assert.deepEqual([code, stderr], [1, "autonomis: AUTONOMIS_DISK_QUOTA=image needs AUTONOMIS_SANDBOX=bubblewrap.\n"])
})
