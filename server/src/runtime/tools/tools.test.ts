import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import type { ExecResult } from "../hands.ts"
import { loadPi } from "../pi/load.ts"
import { type TestHost, testHost } from "../test-kit.ts"
import { applyEdits } from "./apply-edits.ts"
import { boundOutput } from "./bound.ts"
import { createTools } from "./index.ts"

const pi = await loadPi()

async function call(
  host: TestHost,
  name: string,
  args: unknown,
  options: { images?: boolean; imageBytes?: number } = {},
) {
  const [tool] = createTools([name], {
    pi,
    hands: host.hands,
    images: options.images ?? true,
    onOutput: () => {},
    takeImageBytes: (bytes) => bytes <= (options.imageBytes ?? 1e9),
  })
  assert.ok(tool)
  const { content } = await tool.execute("id", args)
  return content
}

async function text(host: TestHost, name: string, args: unknown): Promise<string> {
  const [part] = await call(host, name, args)
  assert.ok(part?.type === "text")
  return part.text
}

const ended = (changes: Partial<ExecResult>): ExecResult => ({
  exitCode: 0,
  killed: null,
  output: "",
  fullOutputPath: null,
  durationMs: 1,
  ...changes,
})

test("tools come in the order of their names, and only those that are on", () => {
  const deps = { pi, hands: testHost().hands, images: true, onOutput: () => {}, takeImageBytes: () => true }
  const names = createTools(["write", "bash", "read", "edit", "fly"], deps).map((tool) => tool.name)
  assert.deepEqual(names, ["bash", "edit", "read", "write"])
  assert.deepEqual(createTools([], deps), [])
})

test("bash tells a failure with its output, a time limit, and where the whole output is", async () => {
  const of = (result: Partial<ExecResult>) =>
    text(testHost({ exec: async () => ended(result) }), "bash", { command: "x" })
  assert.equal(await of({}), "(no output)")
  await assert.rejects(of({ exitCode: 3, output: "bad\n" }), { message: "bad\n\nexited with code 3" })
  await assert.rejects(of({ exitCode: null, killed: "killed: time limit 120 s" }), {
    message: "killed: time limit 120 s",
  })
  const long = await of({ output: "x".repeat(100_000), fullOutputPath: "/work/.out/1" })
  assert.ok(Buffer.byteLength(long) <= 16 * 1024)
  assert.match(long, /bytes left out; the whole output is in \/work\/\.out\/1/)
})

test("bash asks for its default time limit and for no more than ten minutes", async () => {
  const limits: (number | undefined)[] = []
  const host = testHost({
    exec: async (request) => {
      limits.push(request.timeoutMs)
      return ended({})
    },
  })
  await call(host, "bash", { command: "x" })
  await call(host, "bash", { command: "x", timeout: 5 })
  await call(host, "bash", { command: "x", timeout: 99999 })
  assert.deepEqual(limits, [120_000, 5000, 600_000])
})

test("bounded output keeps whole characters of any text", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "binary", minLength: 1, maxLength: 40 }),
      fc.integer({ min: 0, max: 3 }),
      (unit, shift) => {
        const whole = "x".repeat(shift) + unit.repeat(Math.ceil(40_000 / unit.length))
        const bounded = boundOutput(whole, null)
        assert.ok(Buffer.byteLength(bounded) <= 16 * 1024)
        if (!whole.includes("\uFFFD") && whole.isWellFormed()) assert.ok(!bounded.includes("\uFFFD"))
      },
    ),
    { numRuns: 30 },
  )
})

test("read shows lines within 16 KiB and says how to go on", async () => {
  const host = testHost()
  host.files.set("/work/long", Buffer.from(Array.from({ length: 20_000 }, (_, i) => `line ${i + 1}`).join("\n")))
  const first = await text(host, "read", { path: "long" })
  const next = Number(/Go on with offset=(\d+)/.exec(first)?.[1])
  assert.ok(first.startsWith("line 1\n") && Buffer.byteLength(first) < 17 * 1024)
  const second = await text(host, "read", { path: "long", offset: next, limit: 2 })
  assert.match(second, new RegExp(`^line ${next}\nline ${next + 1}\n\n\\[Lines ${next} to ${next + 1} of 20000`))
  assert.equal(await text(host, "read", { path: "long", offset: 20_000 }), "line 20000")
  await assert.rejects(text(host, "read", { path: "long", offset: 20_001 }), /has 20000 lines/)
})

test("read shows images to a model that can see, within the run's budget, and refuses other binaries", async () => {
  const host = testHost()
  const png = Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), Buffer.alloc(100_000)])
  host.files.set("/work/a.png", png)
  host.files.set("/work/a.bin", Buffer.from([1, 0, 2]))
  const content = await call(host, "read", { path: "a.png" })
  assert.deepEqual(content[1], { type: "image", data: png.toString("base64"), mimeType: "image/png" })
  assert.match(JSON.stringify(await call(host, "read", { path: "a.png" }, { images: false })), /cannot look at images/)
  await assert.rejects(call(host, "read", { path: "a.png" }, { imageBytes: 10 }), /too many images/)
  await assert.rejects(call(host, "read", { path: "a.bin" }), /binary file/)
})

test("edit replaces what occurs once, keeps line ends and byte order mark, and shows what changed", async () => {
  const host = testHost()
  host.files.set("/work/a", Buffer.from("\uFEFFone\r\ntwo\r\nthree\r\n"))
  const edits = [
    { oldText: "two\nthree", newText: "2\n3" },
    { oldText: "one", newText: "1" },
  ]
  assert.equal(await text(host, "edit", { path: "a", edits }), "Edited a: 2 replacements.")
  assert.equal(Buffer.from(host.files.get("/work/a") ?? "").toString(), "\uFEFF1\r\n2\r\n3\r\n")
  const { diff } = await applyEdits("a", Buffer.from("a\nb\nc\nd\n"), [{ oldText: "c", newText: "C" }])
  assert.equal(diff, "@@ line 3 @@\n a\n b\n-c\n+C\n d\n \n")
})

test("a file with masked secrets is shown whole and said to be masked, and an edit leaves it as it is", async () => {
  const host = testHost()
  const stands = Buffer.from(`key=${"v".repeat(200)}\nport=1\n`)
  host.files.set("/work/.env", stands)
  const readFile: typeof host.hands.readFile = async () => ({
    data: Buffer.from("key=[secret KEY]\nport=1\n"),
    sizeBytes: stands.byteLength,
    masked: true,
  })
  const masking = { ...host, hands: { ...host.hands, readFile } }
  const shown = await text(masking, "read", { path: ".env" })
  assert.match(
    shown,
    /^key=\[secret KEY\]\nport=1\n\n\[Values of secrets are shown as .* change such a file with bash\.\]$/,
  )
  const edits = [{ oldText: "port=1", newText: "port=2" }]
  await assert.rejects(text(masking, "edit", { path: ".env", edits }), /holds values of secrets.*change it with bash/)
  assert.equal(host.files.get("/work/.env"), stands)
})

test("edit tells the model what is wrong", async () => {
  const edit = (file: string, ...edits: [string, string][]) =>
    applyEdits(
      "f",
      Buffer.from(file),
      edits.map(([oldText, newText]) => ({ oldText, newText })),
    )
  await assert.rejects(() => edit("a b a", ["a", "c"]), /occurs more than once in f \(lines 1 and 1\)/)
  await assert.rejects(
    () => edit("x\nsome line here\ny", ["some line here\nz", "c"]),
    /not found in f\. Its first line stands at line 2/,
  )
  await assert.rejects(() => edit("abc", ["ab", "x"], ["bc", "y"]), /overlap/)
  await assert.rejects(() => edit("abc", ["abc", "abc"]), /would leave f as it is/)
  await assert.rejects(() => edit("abc", ["", "x"]), /is empty/)
  await assert.rejects(
    () => applyEdits("f", Buffer.from([0xff, 0xfe]), [{ oldText: "a", newText: "b" }]),
    /not a text file/,
  )
})

test("edit does what replacing by the language does, on any text", async () => {
  const letters = { unit: fc.constantFrom("a", "b", "\n") }
  await fc.assert(
    fc.asyncProperty(fc.string(letters), fc.string({ ...letters, minLength: 1 }), async (file, part) => {
      const once = file.includes(part) && file.indexOf(part) === file.lastIndexOf(part)
      const act = applyEdits("f", Buffer.from(file), [{ oldText: part, newText: "X" }])
      if (once) assert.equal((await act).text, file.split(part).join("X"))
      else await assert.rejects(act)
    }),
  )
})

test("a file over 1 MiB is not edited, and a hostile search in one just under it is no slower than a plain one", async () => {
  const host = testHost()
  host.files.set("/work/big", Buffer.alloc(1024 * 1024 + 1, 97))
  await assert.rejects(
    text(host, "edit", { path: "big", edits: [{ oldText: "b", newText: "c" }] }),
    /up to 1 MiB can be edited/,
  )

  const file = Buffer.alloc(1024 * 1024, 97)
  const time = async (oldText: string) => {
    const started = process.cpuUsage()
    for (let i = 0; i < 5; i++) {
      await assert.rejects(applyEdits("f", file, [{ oldText, newText: "c" }]), /not found/)
    }
    const { user, system } = process.cpuUsage(started)
    return user + system
  }
  await time("zzzz")
  const plain = await time("zzzz")
  const hostile = await time(`b${"a".repeat(100_000)}`)
  assert.ok(hostile < plain * 20, `${hostile} µs against ${plain} µs`)
})
