import assert from "node:assert/strict"
import { execFile, spawnSync } from "node:child_process"
import { chmod, chown, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { type TestContext, test } from "node:test"
import { promisify } from "node:util"
import type { DriverReport } from "../../driver.ts"
import { specOf, temporaryFolder } from "../../testing.ts"
import { seccompFilter } from "./seccomp.ts"

/** What a server says that is started in some place: as another user, or in a container that was made by hand. */
const MIB = 1024 * 1024
const USER = 65_432
const AS_USER = ["setpriv", `--reuid=${USER}`, `--regid=${USER}`, "--clear-groups"]
const isRoot = process.getuid?.() === 0

interface Said {
  report: DriverReport
  /** What a command in a sandbox printed; null where none can be opened. */
  inside: string | null
  /** A file by the API, which needs no sandbox. */
  file: string
}

async function serve(place: (folder: string) => string[]): Promise<Said> {
  await using folder = await temporaryFolder()
  await chmod(folder.path, 0o755)
  if (isRoot) await chown(folder.path, USER, USER)
  const spec = specOf({ limits: { memoryBytes: 512 * MIB, cpus: 1, pids: 128, storageBytes: 16 * MIB } })
  const script = `
    import { createBubblewrapDriver } from ${JSON.stringify(import.meta.resolve("./bubblewrap.ts"))}
    import { connectGuest } from ${JSON.stringify(import.meta.resolve("../../guest-client.ts"))}
    import { run } from ${JSON.stringify(import.meta.resolve("../../testing.ts"))}
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const signal = AbortSignal.timeout(60000)
    const spec = ${JSON.stringify(spec)}
    const storageBytes = async () => spec.limits.storageBytes
    const driver = createBubblewrapDriver({ dataDir: ${JSON.stringify(folder.path)}, log, storageBytes })
    const report = await driver.selfTest(signal)
    await driver.files(spec).write("file", Buffer.from("by the API"), { maxBytes: 99 }, signal)
    const { body } = await driver.files(spec).read("file", null, signal)
    const file = Buffer.concat(await body.toArray()).toString()
    const open = async () => (await run(await connectGuest(await driver.open(spec, signal)), "cat file; id -u")).text
    const inside = report.usable ? await open() : null
    console.log(JSON.stringify({ report, inside, file }))
    await driver[Symbol.asyncDispose]()`
  const [command = "", ...args] = [...place(folder.path), process.execPath, "--input-type=module", "-e", script]
  const { stdout } = await promisify(execFile)(command, args, { timeout: 90_000, cwd: "/" })
  return JSON.parse(stdout)
}

/** The repository may lie where no other user can read it. */
function othersCanRead(t: TestContext): boolean {
  const reads = spawnSync(AS_USER[0] ?? "", [...AS_USER.slice(1), process.execPath, "--check", import.meta.filename])
  if (isRoot && reads.status === 0) return true
  t.skip("needs root, and a repository that others can read")
  return false
}

/** A container engine's usual filter forbids namespaces and mounts; so does the one for sandboxes. */
async function withFilter(use: (place: string[]) => Promise<void>): Promise<void> {
  await using folder = await temporaryFolder()
  await chmod(folder.path, 0o755)
  const filter = join(folder.path, "filter")
  await writeFile(filter, seccompFilter(process.arch === "arm64" ? "arm64" : "x64"))
  await use(["/bin/sh", "-c", `exec bwrap --dev-bind / / --seccomp 7 "$@" 7< ${filter}`, "container"])
}

const WORKS = "by the API10001\n"

test("an ordinary user's server has sandboxes, and says that it cannot give each an own uid nor an exact quota", async (t) => {
  if (!othersCanRead(t)) return
  const { report, inside } = await serve(() => AS_USER)
  assert.deepEqual([report.usable, report.problem, inside], [true, null, WORKS])
  for (const held of ["namespaces", "seccomp", "no capabilities", "read-only system", "process limit", "disk watch"])
    assert.ok(report.holds.includes(held), `${held} is not in ${report.holds.join()}`)
  for (const not of ["own uid for each agent", "disk quota (images)"]) assert.ok(!report.holds.includes(not), not)
})

test("root in a container that may not mount has sandboxes with own uids, and the watch over the disk", async (t) => {
  if (!isRoot) return t.skip("needs root")
  const { report, inside } = await serve(() => ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all"])
  assert.deepEqual([report.usable, report.problem, inside], [true, null, WORKS])
  assert.ok(report.holds.includes("own uid for each agent") && report.holds.includes("disk watch"), report.holds.join())
})

test("in a container that forbids namespaces the report says what to change; files go on", () =>
  withFilter(async (place) => {
    const { report, inside, file } = await serve(() => place)
    assert.deepEqual([report.usable, report.holds, inside, file], [false, [], null, "by the API"])
    assert.match(report.problem ?? "", /user namespaces.*--security-opt seccomp=unconfined/)
  }))

test("and for an ordinary user's server there", (t) =>
  withFilter(async (place) => {
    if (!othersCanRead(t)) return
    const { report, file } = await serve(() => [...AS_USER, ...place])
    assert.deepEqual([report.usable, file], [false, "by the API"])
    assert.match(report.problem ?? "", /user namespaces.*--security-opt seccomp=unconfined/)
  }))

test("in a container that hides parts of /proc the report names that setting", async (t) => {
  if (!isRoot) return t.skip("needs root")
  const hides = 'mount --bind /dev/null /proc/timer_list || exit 1; exec "$@"'
  const { report, file } = await serve(() => ["unshare", "--mount", "/bin/sh", "-c", hides, "container"])
  assert.deepEqual([report.usable, file], [false, "by the API"])
  assert.match(report.problem ?? "", /--security-opt systempaths=unconfined/)
  assert.doesNotMatch(report.problem ?? "", /seccomp/)
})
