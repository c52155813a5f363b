import assert from "node:assert/strict"
import { test } from "node:test"
import { AppError } from "../lib/errors.ts"
import { silentLogger } from "../lib/log.ts"
import { createRedactor } from "../lib/redact.ts"
import { HandsError } from "../runtime/hands.ts"
import { watchDisk } from "./disk-watch.ts"
import { createSandboxes } from "./sandboxes.ts"
import { anySignal, specOf, temporaryFolder, until } from "./testing.ts"

const MIB = 1024 * 1024
const secrets = async () => ({ env: {}, redactor: createRedactor([]) })

async function withLimit(
  limitMib: number,
  use: (bash: (command: string) => Promise<{ output: string; killed: string | null }>) => Promise<void>,
) {
  await using folder = await temporaryFolder()
  await using sandboxes = createSandboxes({
    ...{ kind: "bubblewrap", dataDir: folder.path, log: silentLogger },
    diskQuota: "watch",
  })
  const spec = specOf({ limits: { memoryBytes: 512 * MIB, cpus: 1, pids: 128, storageBytes: limitMib * MIB } })
  const hands = sandboxes.hands(spec, { secrets })
  await use((command) => hands.exec({ command }, () => {}, anySignal()))
}

test("one file cannot pass the workspace's limit, and the command is told", () =>
  withLimit(8, async (bash) => {
    const big = await bash("exec dd if=/dev/zero of=big bs=1M count=100 2> /dev/null")
    // By the kernel at the limit, or by the watch just after it.
    assert.match(big.killed ?? "", /^killed: (a file passed the )?storage limit 8 MiB/)
    assert.equal((await bash("stat -c %s big")).output, "8388608\n")
  }))

test("many files that pass it together end the command in words; making room goes on working", () =>
  withLimit(16, async (bash) => {
    const many = await bash("for i in $(seq 400); do head -c 2M /dev/zero > f$i; sleep 0.01; done; echo all")
    assert.match(many.killed ?? "", /^killed: storage limit 16 MiB/)
    assert.doesNotMatch(many.output, /all/)
    const room = await bash("rm f*; sleep 1; ls; echo free")
    assert.deepEqual([room.killed, room.output], [null, "free\n"])
  }))

test("in the background too", () =>
  withLimit(16, async (bash) => {
    await bash("(for i in $(seq 4000); do head -c 2M /dev/zero > g$i; sleep 0.02; done) > /dev/null 2>&1 &")
    const count = async () => Number((await bash("ls | wc -l")).output)
    let last = -1
    await until("it is ended", async () => {
      const now = await count()
      const still = now === last
      last = now
      if (!still) await bash("sleep 0.3")
      return still
    })
    assert.ok(last > 7 && last < 2_000, String(last))
  }))

test("a flood of empty files is ended: the number counts as well as the bytes", () =>
  withLimit(8, async (bash) => {
    const flood = await bash(`perl -e 'for (1 .. 5_000_000) { open F, ">", "f$_" } print "all\n"'`)
    assert.match(flood.killed ?? "", /^killed: storage limit 8 MiB/)
    assert.doesNotMatch(flood.output, /all/)
    assert.equal((await bash(`perl -e 'unlink glob "f*"'; ls`)).output, "")
  }))

test("what is written below hundreds of folders counts", () =>
  withLimit(16, async (bash) => {
    const deep = await bash(
      `exec perl -e 'for (1 .. 700) { mkdir "d" x 200; chdir "d" x 200 } for (1 .. 5_000) { open F, ">", $_; print F "x" x 1e6; close F; select undef, undef, undef, 0.01 }'`,
    )
    assert.match(deep.killed ?? "", /^killed: storage limit 16 MiB/)
  }))

test("the agents of a user share one limit, and only who grows is ended", async () => {
  await using folder = await temporaryFolder()
  await using sandboxes = createSandboxes({
    ...{ kind: "bubblewrap", dataDir: folder.path, log: silentLogger },
    diskQuota: "watch",
  })
  const limits = { memoryBytes: 512 * MIB, cpus: 1, pids: 128, storageBytes: 24 * MIB }
  const [first, second, third] = [1, 2, 3].map(() => sandboxes.hands(specOf({ limits }), { secrets }))
  assert.ok(first && second && third)
  const bash = (hands: typeof first, command: string) => hands.exec({ command }, () => {}, anySignal())
  await bash(first, "head -c 20M /dev/zero > kept")
  const quiet = bash(third, "while [ ! -e stop ]; do sleep 0.1; done; echo went on")
  const grows = await bash(second, "for i in $(seq 2000); do head -c 100K /dev/zero > f$i; sleep 0.02; done; echo all")
  assert.match(grows.killed ?? "", /^killed: storage limit 24 MiB/)
  assert.ok(Number((await bash(second, "ls | wc -l")).output) < 300)
  await third.writeFile("stop", Buffer.from(""), anySignal())
  assert.equal((await quiet).output, "went on\n")
})

test("under the reserve commands are held, new ones and files refused in words, and with room all goes on", async () => {
  await using folder = await temporaryFolder()
  // A reserve larger than any disk, until it is set right.
  const reserve = { bytes: 1, share: 1 }
  await using sandboxes = createSandboxes({
    kind: "bubblewrap",
    dataDir: folder.path,
    log: silentLogger,
    diskReserve: reserve,
  })
  const spec = specOf()
  const hands = sandboxes.hands(spec, { secrets })
  const size = async () =>
    (
      await sandboxes
        .files(spec)
        .stat("beat", anySignal())
        .catch(() => ({ sizeBytes: 0 }))
    ).sizeBytes
  const write = () => sandboxes.files(spec).write("up", Buffer.from("x"), { maxBytes: 5 }, anySignal())
  const running = hands.exec(
    { command: "while [ ! -e stop ]; do echo x >> beat; sleep 0.02; done; echo ended" },
    () => {},
    anySignal(),
  )
  await until("it runs", async () => (await size()) > 10)
  reserve.bytes = Number.MAX_SAFE_INTEGER
  await until("writes are refused", () =>
    write().then(
      () => false,
      (error) => error instanceof AppError && /nearly full/.test(error.message),
    ),
  )
  let last = -1
  await until("it is held", async () => {
    const now = await size()
    const held = now === last
    last = now
    if (!held) await new Promise((resolve) => setTimeout(resolve, 200))
    return held
  })
  await assert.rejects(
    hands.exec({ command: "true" }, () => {}, anySignal()),
    (error) => error instanceof HandsError && /nearly full/.test(error.message),
  )
  await assert.rejects(hands.writeFile("a", Buffer.from("x"), anySignal()), HandsError)
  assert.ok((await sandboxes.files(spec).list("", { limit: 5 }, anySignal())).length > 0, "reading goes on")
  reserve.bytes = 1
  await until("it goes on", async () => (await size()) > last)
  await write()
  await hands.writeFile("stop", Buffer.from(""), anySignal())
  assert.equal((await running).output, "ended\n")
})

test("without an open sandbox the disk is not looked at", async () => {
  let looks = 0
  const free = async () => {
    looks++
    return { bytes: 1, inodes: 1, low: false }
  }
  await using watch = watchDisk({
    folder: "/",
    reserve: { bytes: 1, share: 0.05 },
    log: silentLogger,
    sandboxes: () => [],
    free,
  })
  await new Promise((resolve) => setTimeout(resolve, 600))
  assert.deepEqual([looks, watch.low], [0, false])
})
