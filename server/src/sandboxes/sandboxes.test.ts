import assert from "node:assert/strict"
import { readdir } from "node:fs/promises"
import { join } from "node:path"
import { test } from "node:test"
import { AppError } from "../lib/errors.ts"
import { silentLogger } from "../lib/log.ts"
import { createRedactor } from "../lib/redact.ts"
import { type Hands, HandsError } from "../runtime/hands.ts"
import { createSandboxes, type Sandboxes, type SandboxesOptions } from "./sandboxes.ts"
import { anySignal, specOf, temporaryFolder, until } from "./testing.ts"

const VALUE = "a-very-secret-value"
const secrets = async () => ({ env: { TOKEN: VALUE }, redactor: createRedactor([{ name: "TOKEN", value: VALUE }]) })

async function withSandboxes(
  options: Partial<SandboxesOptions>,
  use: (sandboxes: Sandboxes, dataDir: string) => Promise<void>,
) {
  await using folder = await temporaryFolder()
  await using sandboxes = createSandboxes({ kind: "fake", dataDir: folder.path, log: silentLogger, ...options })
  await use(sandboxes, folder.path)
}

const bash = (hands: Hands, command: string, signal = anySignal()) => hands.exec({ command }, () => {}, signal)
const unavailable = (words: RegExp) => (error: unknown) =>
  error instanceof HandsError && error.kind === "unavailable" && words.test(error.message)

test("nothing is opened before the first call, one sandbox serves many, and it closes when idle", () =>
  withSandboxes({ idleMs: 60 }, async (sandboxes) => {
    const spec = specOf()
    const hands = sandboxes.hands(spec, { secrets })
    assert.equal(sandboxes.status().open, 0)
    await Promise.all([bash(hands, "sleep 0.3"), bash(hands, "true"), hands.stat("/work", anySignal())])
    assert.equal(sandboxes.status().open, 1)
    assert.equal(sandboxes.stateOf(spec.id), "running")
    await until("it is closed", () => sandboxes.status().open === 0)
    assert.equal(sandboxes.stateOf(spec.id), "idle")
    assert.equal((await bash(hands, "echo again")).output, "again\n")
  }))

test("a process in the background does not keep a sandbox from idling", () =>
  withSandboxes({ idleMs: 60 }, async (sandboxes) => {
    const hands = sandboxes.hands(specOf(), { secrets })
    await bash(hands, "sleep 65.5 & echo")
    await until("it is closed", () => sandboxes.status().open === 0)
  }))

test("reading a file by the API opens nothing", () =>
  withSandboxes({}, async (sandboxes) => {
    const spec = specOf()
    await sandboxes.files(spec).write("a", Buffer.from("x"), { maxBytes: 5 }, anySignal())
    await sandboxes.files(spec).list("", { limit: 5 }, anySignal())
    assert.equal(sandboxes.status().open, 0)
  }))

test("at the cap the least recently used goes, never a busy one; a caller waits until one is free", () =>
  withSandboxes({ maxOpen: 2, maxOpenPerUser: 2 }, async (sandboxes) => {
    const specs = [specOf(), specOf(), specOf(), specOf()]
    const [a, b, c, d] = specs.map((spec) => sandboxes.hands(spec, { secrets }))
    assert.ok(a && b && c && d)
    await bash(a, "true")
    await bash(b, "true")
    await bash(a, "true")
    await bash(c, "true")
    assert.deepEqual(
      specs.map(({ id }) => sandboxes.stateOf(id)),
      ["running", "idle", "running", "idle"],
    )
    const release = new AbortController()
    const busy = [bash(a, "sleep 66.6", release.signal), bash(c, "sleep 66.6", release.signal)]
    await until("both are busy", () => sandboxes.status().busy === 2)
    const waiting = bash(d, "echo late")
    await until("one waits", () => sandboxes.status().waiting === 1)
    assert.deepEqual(
      specs.map(({ id }) => sandboxes.stateOf(id)),
      ["running", "idle", "running", "idle"],
    )
    release.abort()
    await Promise.allSettled(busy)
    assert.equal((await waiting).output, "late\n")
    assert.equal(sandboxes.status().open, 2)
  }))

test("one user's cap leaves places for others", () =>
  withSandboxes({ maxOpen: 4, maxOpenPerUser: 1 }, async (sandboxes) => {
    const mine = [specOf(), specOf()].map((spec) => sandboxes.hands(spec, { secrets }))
    const other = sandboxes.hands(specOf({ userId: "usr_other" }), { secrets })
    const stop = new AbortController()
    const busy = mine.map((hands) => bash(hands, "sleep 67.7", stop.signal))
    await until("the second waits", () => sandboxes.status().waiting === 1)
    assert.equal((await bash(other, "echo free")).output, "free\n")
    stop.abort()
    await Promise.allSettled(busy)
  }))

test("a user's running commands are held to their number over all of their agents; others do not wait", () =>
  withSandboxes({ maxCommandsPerUser: 2 }, async (sandboxes) => {
    const [first, second] = [specOf(), specOf()].map((spec) => sandboxes.hands(spec, { secrets }))
    assert.ok(first && second)
    const other = sandboxes.hands(specOf({ userId: "usr_other" }), { secrets })
    let told = ""
    // Each is told that it runs before the next one comes.
    const runs = [first, second].map((hands, i) => {
      const stop = new AbortController()
      const tell = (chunk: string) => {
        told += chunk
      }
      return { stop, end: hands.exec({ command: `echo ${i}; sleep 66.6` }, tell, stop.signal).catch(() => null) }
    })
    await until("two run", () => told.includes("0") && told.includes("1"))
    let ran = false
    const third = bash(first, "echo third").then(() => {
      ran = true
    })
    assert.equal((await bash(other, "echo free")).output, "free\n")
    assert.equal(ran, false)
    runs[1]?.stop.abort()
    await third
    runs[0]?.stop.abort()
    await Promise.all(runs.map(({ end }) => end))
  }))

test("stopping an agent or a user is seen done, fails what ran in words, and the next call opens anew", () =>
  withSandboxes({}, async (sandboxes) => {
    const spec = specOf()
    const hands = sandboxes.hands(spec, { secrets })
    for (const stop of [() => sandboxes.stop(spec.id), () => sandboxes.stopUser(spec.userId)]) {
      const running = assert.rejects(bash(hands, "sleep 68.8"), unavailable(/the sandbox ended/))
      await until("it runs", () => sandboxes.status().busy === 1)
      await stop()
      assert.equal(sandboxes.status().open, 0)
      await running
      assert.equal((await bash(hands, "echo new")).output, "new\n")
    }
  }))

test("a deleted agent's and a deleted user's late calls open nothing and make no folder", () =>
  withSandboxes({}, async (sandboxes, dataDir) => {
    const [agent, other] = [specOf(), specOf({ userId: "usr_gone" })]
    for (const spec of [agent, other]) await bash(sandboxes.hands(spec, { secrets }), "touch file")
    const [hands, files] = [sandboxes.hands(agent, { secrets }), sandboxes.files(agent)]
    await sandboxes.destroy(agent, anySignal())
    await sandboxes.endUser(other.userId)
    await assert.rejects(bash(hands, "true"), unavailable(/deleted/))
    await assert.rejects(bash(sandboxes.hands(other, { secrets }), "true"), unavailable(/deleted/))
    for (const late of [files, sandboxes.files(agent), sandboxes.files(other)]) {
      await assert.rejects(
        late.list("", { limit: 1 }, anySignal()),
        (error) => error instanceof AppError && error.code === "not_found",
      )
    }
    assert.deepEqual(await readdir(join(dataDir, "users", agent.userId, "agents")), [])
  }))

test("secrets are in a command's environment, and masked in all that comes back, live too", () =>
  withSandboxes({}, async (sandboxes) => {
    const hands = sandboxes.hands(specOf(), { secrets })
    let live = ""
    const result = await hands.exec(
      {
        command:
          "echo $TOKEN; printf a-very-; sleep 0.05; echo secret-value; echo $TOKEN > file; mkdir $TOKEN; cat /$TOKEN",
      },
      (chunk) => {
        live += chunk
      },
      anySignal(),
    )
    assert.equal(result.output, live)
    assert.doesNotMatch(live, /a-very-secret/)
    assert.match(live, /^\[secret TOKEN\]\n\[secret TOKEN\]\n.*\/\[secret TOKEN\]/s)
    const file = await hands.readFile("file", null, anySignal())
    assert.deepEqual(
      [Buffer.from(file.data).toString(), file.masked, file.sizeBytes],
      ["[secret TOKEN]\n", true, VALUE.length + 1],
    )
    assert.ok((await hands.list("/work", anySignal())).some(({ name }) => name === "[secret TOKEN]"))
    await assert.rejects(
      hands.readFile(`/no/${VALUE}`, null, anySignal()),
      (error) => error instanceof HandsError && !error.message.includes(VALUE),
    )
  }))

test("of a long output the head and the tail are kept, and the whole is in a file; old ones go", () =>
  withSandboxes({}, async (sandboxes) => {
    const hands = sandboxes.hands(specOf(), { secrets })
    const result = await bash(hands, "echo first; seq 1 20000; echo last")
    assert.match(result.output, /^first\n1\n2\n/)
    assert.match(result.output, /19999\n20000\nlast\n$/)
    assert.ok(result.output.length < 20_000)
    assert.ok(result.fullOutputPath !== null && result.output.includes(result.fullOutputPath))
    const whole = await hands.readFile(result.fullOutputPath, null, anySignal())
    assert.equal(
      Buffer.from(whole.data).toString(),
      `first\n${Array.from({ length: 20000 }, (_, i) => i + 1).join("\n")}\nlast\n`,
    )
    const short = await bash(hands, "echo short")
    assert.equal(short.fullOutputPath, null)
    for (let i = 0; i < 25; i++) await bash(hands, "seq 1 9000")
    assert.equal((await hands.list("/work/.autonomis/output", anySignal())).length, 20)
  }))

test("a command that ran too long, or was killed, is told in words", () =>
  withSandboxes({}, async (sandboxes) => {
    const hands = sandboxes.hands(specOf(), { secrets })
    const late = await hands.exec({ command: "echo begun; sleep 69.9", timeoutMs: 200 }, () => {}, anySignal())
    assert.deepEqual([late.exitCode, late.killed, late.output], [null, "killed: time limit 0.2 s", "begun\n"])
    assert.equal((await bash(hands, "kill -9 $$")).killed, "killed by SIGKILL")
  }))

test("an environment or a command that the kernel would not take is refused in words", () =>
  withSandboxes({}, async (sandboxes) => {
    const none = createRedactor([])
    const big = async () => ({
      env: Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`S${i}`, "x".repeat(60_000)])),
      redactor: none,
    })
    await assert.rejects(bash(sandboxes.hands(specOf(), { secrets: big }), "true"), /larger than 1 MiB/)
    const hands = sandboxes.hands(specOf(), { secrets })
    await assert.rejects(bash(hands, "x".repeat(1_100_000)), /longer than 1 MiB/)
    await assert.rejects(bash(hands, "echo \0"), /NUL/)
    assert.equal(sandboxes.status().open, 0)
  }))

test("new limits count from the next command on", () =>
  withSandboxes({}, async (sandboxes) => {
    const spec = specOf()
    await bash(sandboxes.hands(spec, { secrets }), "sleep 70.7 & echo > file")
    const changed = sandboxes.hands({ ...spec, limits: { ...spec.limits, pids: 99 } }, { secrets })
    assert.equal((await bash(changed, "ls; pgrep -f 'sleep 70[.]7'")).output, "file\n")
  }))

test("without bubblewrap a call answers with one sentence that names the cure, and works once it is installed", async () => {
  let installed = false
  const { createBubblewrapDriver } = await import("./drivers/bubblewrap/bubblewrap.ts")
  await using folder = await temporaryFolder()
  await using driver = createBubblewrapDriver({ dataDir: folder.path, log: silentLogger, isInstalled: () => installed })
  const report = await driver.selfTest(anySignal())
  assert.equal(report.usable, false)
  assert.match(report.problem ?? "", /apt-get install bubblewrap/)
  await assert.rejects(
    driver.open(specOf(), anySignal()),
    (error) => error instanceof AppError && error.code === "sandbox_unavailable",
  )
  await driver.files(specOf()).write("still", Buffer.from("x"), { maxBytes: 5 }, anySignal())
  installed = true
  const guest = await driver.open(specOf(), anySignal())
  guest.stream.destroy()
  await guest.ended
})

test("closing everything ends what runs and refuses what comes", () =>
  withSandboxes({}, async (sandboxes) => {
    const hands = sandboxes.hands(specOf(), { secrets })
    const running = assert.rejects(bash(hands, "sleep 71.1"), HandsError)
    await until("it runs", () => sandboxes.status().busy === 1)
    await sandboxes[Symbol.asyncDispose]()
    await running
    await assert.rejects(bash(hands, "true"), unavailable(/stopping/))
  }))
