import assert from "node:assert/strict"
import { createHash, randomBytes } from "node:crypto"
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, test } from "node:test"
import { HandsError } from "../runtime/hands.ts"
import type { SandboxDriver, SandboxSpec } from "./driver.ts"
import { filesContract } from "./files-contract.ts"
import { connectGuest } from "./guest-client.ts"
import { anySignal, run, specOf, temporaryFolder, until } from "./testing.ts"

export type MakeDriver = (dataDir: string) => SandboxDriver

/** What every driver promises; each driver's test file calls this once. */
export function driverContract(name: string, make: MakeDriver): void {
  describe(`driver ${name}`, () => {
    const withDriver = async (use: (driver: SandboxDriver, dataDir: string) => Promise<void>) => {
      await using folder = await temporaryFolder()
      await using driver = make(folder.path)
      await use(driver, folder.path)
    }
    const withGuest = (use: (tools: Awaited<ReturnType<typeof openGuest>>) => Promise<void>) =>
      withDriver(async (driver) => use(await openGuest(driver)))

    async function openGuest(driver: SandboxDriver, spec: SandboxSpec = specOf()) {
      const stream = await driver.open(spec, anySignal())
      return { driver, spec, stream, client: await connectGuest(stream) }
    }

    test("says what it holds, and that it can be used", () =>
      withDriver(async (driver) => {
        const report = await driver.selfTest(anySignal())
        assert.equal(report.usable, true, report.problem ?? "")
        assert.equal(report.driver, name)
      }))

    test("runs commands: exit code, output in order, input, folder, environment", () =>
      withGuest(async ({ client }) => {
        const plain = await run(client, "echo one; echo two >&2; echo three; exit 7")
        assert.deepEqual([plain.exitCode, plain.text], [7, "one\ntwo\nthree\n"])
        assert.equal(
          (await run(client, "cat; echo $?", { stdin: Buffer.from("from outside\n") })).text,
          "from outside\n0\n",
        )
        assert.equal((await run(client, "read x; echo [$x]")).text, "[]\n")
        assert.equal(
          (await run(client, "echo a > /dev/stdout; echo b > /dev/stderr; echo c | tee /dev/stderr")).text,
          "a\nb\nc\nc\n",
        )
        assert.equal((await run(client, "echo $HOME; cd; touch here; ls")).text.split("\n")[1], "here")
        assert.equal(
          (await run(client, "for i in 1 2; do\n  echo $i # said\ndone\ncat <<E\nlast\nE")).text,
          "1\n2\nlast\n",
        )
      }))

    test("takes a command longer than the kernel takes as one argument", () =>
      withGuest(async ({ client }) => {
        const long = await run(client, `x='${"y".repeat(300_000)}'; echo \${#x}`)
        assert.equal(long.text, "300000\n")
      }))

    test("is binary safe both ways", () =>
      withGuest(async ({ client }) => {
        const data = randomBytes(1_000_000)
        assert.ok((await run(client, "cat", { stdin: data })).bytes.equals(data))
        await client.write("binary", data, anySignal())
        const back = await client.read("binary", 0, 2_000_000, anySignal())
        assert.ok(back.data.equals(data))
        assert.ok((await client.read("binary", 999_000, 5_000, anySignal())).data.equals(data.subarray(999_000)))
        assert.equal(back.sizeBytes, data.length)
      }))

    test("brings 5 MB of output whole, and keeps them in a file", () =>
      withGuest(async ({ client }) => {
        const big = await run(client, "head -c 5000000 /dev/zero | tr '\\0' 'a'")
        assert.equal(big.outputBytes, 5_000_000)
        assert.equal(
          createHash("sha256").update(big.bytes).digest("hex"),
          createHash("sha256").update("a".repeat(5_000_000)).digest("hex"),
        )
        assert.equal(big.outputFile, true)
        assert.equal((await client.stat(".autonomis/output/test.log", anySignal())).sizeBytes, 5_000_000)
      }))

    test("a flood of output is taken no faster than 16 MiB a second, after the first 16", () =>
      withGuest(async ({ client }) => {
        const start = performance.now()
        const flood = await run(client, "yes", { timeoutMs: 1500 })
        const seconds = (performance.now() - start) / 1000
        assert.equal(flood.timedOut, true)
        assert.ok(flood.outputBytes <= (seconds + 1) * 16 * 1024 * 1024 + 64 * 1024, `${flood.outputBytes} bytes`)
      }))

    test("answers many calls at once, each its own", () =>
      withGuest(async ({ client }) => {
        const calls = Array.from({ length: 40 }, async (_, i) => {
          if (i % 2 === 0) return assert.equal((await run(client, `sleep 0.0${i % 5}; echo ${i}`)).text, `${i}\n`)
          await client.write(`many/${i}`, Buffer.from(`file ${i}`), anySignal())
          assert.equal((await client.read(`many/${i}`, 0, 100, anySignal())).data.toString(), `file ${i}`)
        })
        await Promise.all(calls)
      }))

    test("ends a command at its time limit with its whole process group", () =>
      withGuest(async ({ client }) => {
        const late = await run(client, "sleep 61.1 & set -m; sleep 61.1 & sleep 61.1", { timeoutMs: 300 })
        assert.equal(late.timedOut, true)
        assert.equal(late.exitCode, null)
        await until("the group is gone", async () => !(await run(client, "ps -eo args")).text.includes("sleep 61.1\n"))
      }))

    test("an aborted call ends at once, and so does its command", () =>
      withGuest(async ({ client }) => {
        const stop = new AbortController()
        const running = run(client, "echo up; sleep 62.2", { signal: stop.signal })
        await until("it runs", async () => (await run(client, "ps -eo args")).text.includes("sleep 62.2\n"))
        stop.abort()
        await assert.rejects(running, (error) => error instanceof HandsError && error.kind === "aborted")
        await until("it is gone", async () => !(await run(client, "ps -eo args")).text.includes("sleep 62.2\n"))
      }))

    test("a process in the background does not hold its command, lives on, and ends with the sandbox", () =>
      withGuest(async ({ client, driver, spec }) => {
        const started = await run(
          client,
          "(while :; do echo alive >> beat; sleep 0.05; done) & setsid sleep 63.3 & echo started",
        )
        assert.equal(started.text, "started\n")
        const size = async () =>
          (
            await driver
              .files(spec)
              .stat("beat", anySignal())
              .catch(() => ({ sizeBytes: 0 }))
          ).sizeBytes
        await until("it lives", async () => (await size()) > 12)
        await driver.stop(spec.id, anySignal())
        const last = await size()
        const again = await openGuest(driver, spec)
        assert.ok(!(await run(again.client, "ps -eo args")).text.includes("sleep 63.3\n"))
        assert.equal(await size(), last)
      }))

    test("changes files: folders made, replaced at once, listed, moved, removed", () =>
      withGuest(async ({ client }) => {
        await client.write("a/b/c.txt", Buffer.from("1"), anySignal())
        await run(client, "chmod 755 a/b/c.txt; ln -s c.txt a/b/link; ln -s nowhere a/b/broken; mkfifo a/b/fifo")
        await client.write("/work/a/b/link", Buffer.from("22"), anySignal())
        assert.equal((await run(client, "stat -c '%a %s' a/b/c.txt; ls a/b | wc -l")).text, "755 2\n4\n")
        const listed = await client.list("a/b", anySignal())
        assert.deepEqual(
          listed.map(({ name, type }) => [name, type]),
          [
            ["broken", "symlink"],
            ["c.txt", "file"],
            ["fifo", "other"],
            ["link", "symlink"],
          ],
        )
        assert.equal((await client.stat("a/b/link", anySignal())).type, "file")
        await client.change({ op: "rename", from: "a/b/c.txt", to: "x/y" }, anySignal())
        await client.change({ op: "mkdir", path: "x/z" }, anySignal())
        await client.change({ op: "remove", path: "a", recursive: true }, anySignal())
        assert.equal(
          (await run(client, "find . -path ./.autonomis -prune -o -print | sort | tr '\\n' ' '")).text,
          ". ./x ./x/y ./x/z ",
        )
      }))

    test("tells failures in words and goes on", () =>
      withGuest(async ({ client }) => {
        await run(client, "mkfifo fifo; mkdir folder; touch folder/file")
        const kinds: [Promise<unknown>, string][] = [
          [client.read("missing", 0, 1, anySignal()), "not_found"],
          [client.read("folder", 0, 1, anySignal()), "is_directory"],
          [client.read("fifo", 0, 1, anySignal()), "invalid"],
          [client.write("fifo", Buffer.from("x"), anySignal()), "invalid"],
          [client.write("folder", Buffer.from("x"), anySignal()), "is_directory"],
          [client.change({ op: "remove", path: "folder", recursive: false }, anySignal()), "invalid"],
          [client.list("folder/file", anySignal()), "not_directory"],
          [client.stat("a\0b", anySignal()), "invalid"],
        ]
        const told = kinds.map(([call, kind]) =>
          assert.rejects(call, (error) => error instanceof HandsError && error.kind === kind, kind),
        )
        await Promise.all(told)
        assert.equal((await run(client, "echo fine")).text, "fine\n")
      }))

    test("a guest that died fails its calls with the reason, and the next opening works on the same files", () =>
      withGuest(async ({ client, driver, spec, stream }) => {
        await client.write("kept", Buffer.from("kept"), anySignal())
        const running = run(client, "sleep 64.4")
        stream.stream.destroy()
        await assert.rejects(running, (error) => error instanceof HandsError && error.kind === "unavailable")
        await until("it is seen gone", async () => (await driver.list(anySignal())).every(({ id }) => id !== spec.id))
        const again = await openGuest(driver, spec)
        assert.equal((await run(again.client, "cat kept")).text, "kept")
      }))

    test("opening and ending are idempotent; destroying removes the files", () =>
      withGuest(async ({ driver, spec, stream }) => {
        assert.equal(await driver.open(spec, anySignal()), stream)
        assert.deepEqual(await driver.list(anySignal()), [{ id: spec.id, running: true }])
        await driver.stop(spec.id, anySignal())
        await driver.stop(spec.id, anySignal())
        assert.deepEqual(await driver.list(anySignal()), [])
        await driver.files(spec).write("file", Buffer.from("x"), { maxBytes: 10 }, anySignal())
        await driver.destroy(spec, anySignal())
        await driver.destroy(spec, anySignal())
        assert.deepEqual(await driver.files(spec).list("", { limit: 10 }, anySignal()), [])
      }))

    test("two agents see nothing of each other's files", () =>
      withDriver(async (driver) => {
        const [one, two] = [await openGuest(driver), await openGuest(driver)]
        await one.client.write("mine", Buffer.from("x"), anySignal())
        await assert.rejects(
          two.client.stat("mine", anySignal()),
          (error) => error instanceof HandsError && error.kind === "not_found",
        )
      }))

    test("nothing is left open after many calls", () =>
      withGuest(async ({ driver, spec, client }) => {
        const files = driver.files(spec)
        await files.write("a/b", Buffer.from("x"), { maxBytes: 10 }, anySignal())
        const before = (await readdir("/proc/self/fd")).length
        for (let i = 0; i < 20; i++) {
          const { body } = await files.read("a/b", null, anySignal())
          await body.toArray()
          await files.list("a", { limit: 10 }, anySignal())
          await assert.rejects(files.stat("a/missing", anySignal()))
          await run(client, "true")
        }
        await until("descriptors are closed", async () => (await readdir("/proc/self/fd")).length <= before)
      }))

    filesContract(withGuest)
    swapRace(withGuest)
  })

  function swapRace(withGuest: (use: (tools: RaceTools) => Promise<void>) => Promise<void>): void {
    const rounds = process.env.TEST_LONG ? 30_000 : 1_500
    test(`${rounds} races of a folder swapped with a link outwards leak, write and delete nothing outside`, () =>
      withGuest(async ({ client, driver, spec }) => {
        const files = driver.files(spec)
        const workspace = join(...(await workspacePath(client, driver, spec)))
        const outside = join(workspace, "../../../../../outside")
        await mkdir(join(outside, "sub"), { recursive: true })
        await writeFile(join(outside, "file"), "OUTSIDE")
        await run(client, "mkdir folder; echo inside > folder/file; ln -s ../../../../../outside link")
        const swapper = `const fs=require("fs");for(;;){try{fs.renameSync("folder","kept");fs.renameSync("link","folder");fs.renameSync("folder","link");fs.renameSync("kept","folder")}catch{try{fs.renameSync("kept","folder")}catch{}try{fs.renameSync("folder","link")}catch{}}}`
        const stop = new AbortController()
        const node = name === "bubblewrap" || name === "docker" ? "/usr/local/bin/node" : process.execPath
        const swapping = run(client, `exec ${node} -e '${swapper}'`, { signal: stop.signal, timeoutMs: 600_000 }).catch(
          () => null,
        )
        const seen = { inside: 0, refused: 0 }
        const attempt = async (work: () => Promise<void>) => {
          try {
            await work()
            seen.inside++
          } catch (error) {
            assert.ok(error instanceof Error)
            seen.refused++
          }
        }
        for (let i = 0; i < rounds / 3; i++) {
          await attempt(async () => {
            const { body } = await files.read("folder/file", null, anySignal())
            assert.doesNotMatch(Buffer.concat(await body.toArray()).toString(), /OUTSIDE/)
          })
          await attempt(
            async () => void (await files.write("folder/new/deep", Buffer.from("x"), { maxBytes: 10 }, anySignal())),
          )
          await attempt(() => files.remove("folder/new", { recursive: true }, anySignal()))
        }
        stop.abort()
        await swapping
        assert.ok(seen.inside > 0, "some succeeded")
        assert.deepEqual((await readdir(outside)).sort(), ["file", "sub"])
        assert.equal(await readFile(join(outside, "file"), "utf8"), "OUTSIDE")
      }))
  }
}

interface RaceTools {
  client: Awaited<ReturnType<typeof connectGuest>>
  driver: SandboxDriver
  spec: SandboxSpec
}

/** Where the host has it: found by what only that workspace holds. */
async function workspacePath(
  { write }: RaceTools["client"],
  _driver: SandboxDriver,
  spec: SandboxSpec,
): Promise<string[]> {
  const mark = randomBytes(8).toString("hex")
  await write(mark, Buffer.from("x"), anySignal())
  for (const folder of await readdir("/tmp")) {
    const path = join("/tmp", folder, "users", spec.userId, "agents", spec.id, "workspace")
    if (folder.startsWith("autonomis-sandbox-") && (await readdir(path).catch((): string[] => [])).includes(mark))
      return [path]
  }
  throw new Error("no workspace")
}
