import assert from "node:assert/strict"
import { readdir } from "node:fs/promises"
import { Readable } from "node:stream"
import { test } from "node:test"
import { AppError } from "../lib/errors.ts"
import type { SandboxDriver, SandboxSpec, WorkspaceFiles } from "./driver.ts"
import type { GuestClient } from "./guest-client.ts"
import { anySignal, run, until } from "./testing.ts"

interface Tools {
  client: GuestClient
  driver: SandboxDriver
  spec: SandboxSpec
}

/** What `files()` of every driver promises; part of the one suite. */
export function filesContract(withGuest: (use: (tools: Tools) => Promise<void>) => Promise<void>): void {
  const withFiles = (use: (files: WorkspaceFiles, client: GuestClient) => Promise<void>) =>
    withGuest(async ({ driver, spec, client }) => use(driver.files(spec), client))
  const put = (files: WorkspaceFiles, path: string, text: string) =>
    files.write(path, Buffer.from(text), { maxBytes: 1_000_000 }, anySignal())
  const get = async (files: WorkspaceFiles, path: string, range: { start: number; end: number } | null = null) => {
    const { body, stat } = await files.read(path, range, anySignal())
    return { text: Buffer.concat(await body.toArray()).toString(), stat }
  }
  const refused = (work: Promise<unknown>, code: string, what: string) =>
    assert.rejects(work, (error) => error instanceof AppError && error.code === code, `${what} is ${code}`)

  test("files: written for the agent, read back, in ranges, with a new etag for each state", () =>
    withFiles(async (files, client) => {
      const first = await put(files, "deep/er/file.txt", "0123456789")
      assert.equal(first.created, true)
      assert.equal(
        (await run(client, "cat deep/er/file.txt; echo more >> deep/er/file.txt; mkdir deep/mine; touch deep/er/own"))
          .text,
        "0123456789",
      )
      const read = await get(files, "deep/er/file.txt")
      assert.equal(read.text, "0123456789more\n")
      assert.notEqual(read.stat.etag, first.stat.etag)
      assert.equal((await get(files, "deep/er/file.txt", { start: 3, end: 5 })).text, "34")
      assert.equal((await get(files, "deep/er/file.txt", { start: 100, end: 500 })).text, "")
      const second = await put(files, "deep/er/file.txt", "new")
      assert.equal(second.created, false)
      assert.equal((await files.stat("deep/er/file.txt", anySignal())).etag, second.stat.etag)
      await put(files, "empty", "")
      assert.equal((await get(files, "empty")).text, "")
    }))

  test("files: conditions are kept", () =>
    withFiles(async (files) => {
      const { stat } = await put(files, "f", "1")
      const write = (options: { ifMatch?: string; ifNoneMatch?: boolean }) =>
        files.write("f", Buffer.from("2"), { maxBytes: 10, ...options }, anySignal())
      await refused(write({ ifMatch: "other" }), "precondition_failed", "another etag")
      await refused(write({ ifNoneMatch: true }), "precondition_failed", "an existing file")
      await write({ ifMatch: stat.etag })
      await refused(write({ ifMatch: stat.etag }), "precondition_failed", "an old etag")
      await refused(
        files.write("g", Buffer.from("x"), { maxBytes: 10, ifMatch: "*" }, anySignal()),
        "precondition_failed",
        "a missing file",
      )
      const race = await Promise.allSettled(
        Array.from({ length: 8 }, () =>
          files.write("once", Buffer.from("x"), { maxBytes: 10, ifNoneMatch: true }, anySignal()),
        ),
      )
      assert.equal(race.filter(({ status }) => status === "fulfilled").length, 1)
    }))

  test("files: listed in name order, page by page", () =>
    withFiles(async (files, client) => {
      await run(client, "rm -rf .autonomis; mkdir d; touch b a c; ln -s a l; mkfifo p; touch .autonomis-tmp-x")
      const page = await files.list("", { limit: 3 }, anySignal())
      assert.deepEqual(
        page.map(({ name, type }) => `${name}:${type}`),
        ["a:file", "b:file", "c:file"],
      )
      const rest = await files.list("", { limit: 30, after: "c" }, anySignal())
      assert.deepEqual(
        rest.map(({ name, type }) => `${name}:${type}`),
        ["d:directory", "l:symlink", "p:other"],
      )
    }))

  test("files: inner links are followed, links outwards are refused, nothing waits on a fifo", () =>
    withFiles(async (files, client) => {
      await put(files, "real/file", "inner")
      await run(
        client,
        "ln -s real alias; ln -s /work/real/file abs; ln -s ../real/file real/up; ln -s /etc/passwd out; ln -s ../../x out2; ln -s / root; ln -s loop loop; mkfifo fifo; ln -s fifo tofifo; ln -s new dangling; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'",
      )
      for (const path of ["alias/file", "abs", "real/up"]) assert.equal((await get(files, path)).text, "inner", path)
      for (const path of ["out", "out2", "root/etc/passwd", "root/etc", "loop", "fifo", "tofifo", "sock"]) {
        await refused(get(files, path), "invalid_request", `reading ${path}`)
        await refused(put(files, path, "x"), "invalid_request", `writing ${path}`)
      }
      await put(files, "dangling", "through the link")
      assert.equal((await get(files, "new")).text, "through the link")
      await files.remove("alias", { recursive: true }, anySignal())
      assert.equal((await get(files, "real/file")).text, "inner")
    }))

  test("files: a write to one of two hard links leaves the other as it was; removing one leaves the other", () =>
    withFiles(async (files, client) => {
      await run(client, "echo -n one > first; ln first second")
      await put(files, "second", "two")
      assert.deepEqual([(await get(files, "first")).text, (await get(files, "second")).text], ["one", "two"])
      await run(client, "ln first third")
      await files.remove("third", { recursive: false }, anySignal())
      assert.equal((await get(files, "first")).text, "one")
    }))

  test("files: bad paths, folders for files, files for folders", () =>
    withFiles(async (files) => {
      await put(files, "folder/file", "x")
      for (const path of [
        "..",
        "a/../b",
        ".",
        "a//b",
        "/etc",
        "a\0b",
        "a/",
        `${"x".repeat(256)}`,
        `${"a/".repeat(3000)}b`,
      ]) {
        await refused(files.stat(path, anySignal()), "invalid_request", JSON.stringify(path.slice(0, 20)))
        await refused(put(files, path, "x"), "invalid_request", `write ${JSON.stringify(path.slice(0, 20))}`)
      }
      await refused(get(files, "folder"), "conflict", "reading a folder")
      await refused(put(files, "folder", "x"), "conflict", "writing a folder")
      await refused(put(files, "folder/file/below", "x"), "conflict", "a file on the way")
      await refused(files.stat("folder/file/below", anySignal()), "not_found", "below a file")
      await refused(files.list("folder/file", { limit: 5 }, anySignal()), "conflict", "listing a file")
      await refused(files.remove("folder", { recursive: false }, anySignal()), "conflict", "a folder that is not empty")
      await refused(files.remove("missing", { recursive: true }, anySignal()), "not_found", "nothing")
      await refused(files.remove("", { recursive: true }, anySignal()), "invalid_request", "the workspace")
      await files.remove("folder", { recursive: true }, anySignal())
      await refused(files.stat("folder", anySignal()), "not_found", "a removed folder")
    }))

  test("files: too large, aborted and broken bodies leave nothing behind", () =>
    withFiles(async (files) => {
      await put(files, "f", "old")
      const before = (await readdir("/proc/self/fd")).length
      await refused(files.write("f", Buffer.alloc(101), { maxBytes: 100 }, anySignal()), "too_large", "101 bytes")
      const stop = new AbortController()
      const endless = new Readable({ read() {} })
      endless.push("some")
      const writing = files.write("f", endless, { maxBytes: 1000 }, stop.signal)
      setImmediate(() => stop.abort())
      await assert.rejects(writing)
      const broken = Readable.from(
        (async function* () {
          yield Buffer.from("half")
          throw new Error("the client went away")
        })(),
      )
      await assert.rejects(files.write("f", broken, { maxBytes: 1000 }, anySignal()))
      const reading = new AbortController()
      await put(files, "big", "x".repeat(500_000))
      const { body } = await files.read("big", null, reading.signal)
      reading.abort()
      await until("the reader is closed", () => body.closed)
      assert.equal((await get(files, "f")).text, "old")
      assert.deepEqual(
        (await files.list("", { limit: 10 }, anySignal()))
          .map(({ name }) => name)
          .filter((name) => !name.startsWith(".")),
        ["big", "f"],
      )
      assert.equal((await files.usage(anySignal())).entries, 2)
      await until("descriptors are closed", async () => (await readdir("/proc/self/fd")).length <= before)
    }))

  test("files: usage counts bytes and entries once; very deep folders are removed", () =>
    withFiles(async (files, client) => {
      await put(files, "a/ten", "0123456789")
      await run(client, "ln a/ten a/again; truncate -s 1T sparse; ln -s a link")
      assert.deepEqual(await files.usage(anySignal()), { bytes: 10, entries: 5 })
      await run(
        client,
        `python3 -c 'import os\nos.mkdir("deep"); os.chdir("deep")\nfor i in range(2000): os.mkdir("d"*50); os.chdir("d"*50)\nopen("at the end", "w").write("x" * 5000)'`,
      )
      assert.deepEqual(await files.usage(anySignal()), { bytes: 5010, entries: 5 + 1 + 2000 + 1 })
      await files.remove("deep", { recursive: true }, anySignal())
      await refused(files.stat("deep", anySignal()), "not_found", "the deep folder")
    }))
}
