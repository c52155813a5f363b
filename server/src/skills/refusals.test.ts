import assert from "node:assert/strict"
import { after, before, describe, test } from "node:test"
import { freshSqlite, type TestDatabase } from "../../../test/databases.ts"
import { type SkillsUnderTest, skillsUnderTest, stagingOf } from "../../../test/skills.ts"
import { makeZip, skillMd, type ZipEntry } from "../../../test/zip.ts"
import { AppError } from "../lib/errors.ts"

const MIB = 1024 * 1024
const SKILL: ZipEntry = { name: "SKILL.md", data: skillMd("greeter") }
const withEntry = (entry: ZipEntry) => makeZip([SKILL, entry])
const named = (name: string | Buffer) => withEntry({ name, data: "x" })
const many = (count: number) => Array.from({ length: count }, (_, i): ZipEntry => ({ name: `f/${i}.txt`, data: "x" }))
const linkMode = 0o120777
const zeros = Buffer.alloc(20 * MIB)

/** For each way to do harm an archive, under the words that it is refused with. */
const HOSTILE: Record<string, Record<string, Buffer | (() => Buffer)>> = {
  "a path that leaves its folder": {
    "traversal: ../": named("../escape.txt"),
    "traversal: inside a path": named("a/../../escape.txt"),
    "traversal: a dot": named("a/./b.txt"),
    "traversal: wide dots that normalize to ..": named("\uff0e\uff0e/escape.txt"),
    "traversal: a wide slash": named("..\uff0fescape.txt"),
    "traversal: a folder entry": withEntry({ name: "../escape/" }),
  },
  "an absolute path": {
    "traversal: absolute": named("/etc/cron.d/x"),
    "traversal: home": named("~/escape.txt"),
  },
  "a character in a name that not every system allows": {
    "traversal: a drive": named("C:/x.txt"),
    "traversal: backslashes": named("..\\escape.txt"),
    "traversal: backslash as a folder": named("a\\b.txt"),
    "a colon, which is a stream on some systems": named("a.txt:hidden"),
  },
  "an empty part in a path": {
    "traversal: an empty part": named("a//b.txt"),
  },
  "an encoded path": {
    "traversal: percent signs": named("%2e%2e/escape.txt"),
  },
  "it holds a link or a special file": {
    "a symbolic link": withEntry({ name: "link", data: "/etc/passwd", mode: linkMode }),
    "a symbolic link in place of SKILL.md": makeZip([{ ...SKILL, mode: linkMode }]),
    "a fifo": withEntry({ name: "fifo", data: "", mode: 0o010644 }),
    "a device": withEntry({ name: "dev", data: "", mode: 0o020644 }),
    "a junction": withEntry({ name: "junction", data: "x", attributes: 0x400 }),
    "a link in an extra field": withEntry({
      name: "hard",
      data: "x",
      extra: Buffer.concat([Buffer.from([0x0d, 0, 16, 0]), Buffer.alloc(12), Buffer.from("SKIL")]),
    }),
  },
  "two names that some systems hold to be the same": {
    "names that differ in case": makeZip([SKILL, { name: "a.txt", data: "1" }, { name: "A.TXT", data: "2" }]),
    "a second SKILL.md in another case": makeZip([SKILL, { name: "skill.md", data: skillMd("other") }]),
    "folders that differ in case": makeZip([SKILL, { name: "docs/a", data: "1" }, { name: "Docs/b", data: "2" }]),
    "names that normalize to one": makeZip([
      SKILL,
      { name: "caf\u00e9", data: "1" },
      { name: "cafe\u0301", data: "2" },
    ]),
    "names that fold to one": makeZip([SKILL, { name: "stra\u00dfe", data: "1" }, { name: "STRASSE", data: "2" }]),
    "one name twice": makeZip([SKILL, { name: "a", data: "1" }, { name: "a", data: "2" }]),
    "a file and a folder of one name": makeZip([SKILL, { name: "a", data: "1" }, { name: "a/b", data: "2" }]),
  },
  "a control or invisible character in a name": {
    "NUL in a name": named("a\0.txt"),
    "a line break in a name": named("a\nb.txt"),
    "an escape sequence in a name": named("\u001b[2Ja.txt"),
    "a character that turns the reading direction": named("a\u202etxt.sh"),
    "an invisible character": named("a\u200b.txt"),
  },
  "a name that is not UTF-8": {
    "a name that is not UTF-8": withEntry({ name: Buffer.from([0x61, 0xff, 0xfe]), data: "x" }),
  },
  "the reserved name": {
    ".clawhub/": named(".clawhub/origin.json"),
    ".clawhub/ deeper and in another case": named("a/.ClawHub/origin.json"),
    ".git/": named(".git/hooks/pre-commit"),
    "a reserved name": named("aux"),
    "a reserved name with an extension": named("docs/NUL.txt"),
    "a reserved name as a folder": named("com1/a.txt"),
  },
  "a name that begins with a space or ends with a dot or a space": {
    "a name that ends with a dot": named("a."),
    "a name that ends with a space": named("a "),
  },
  "a name that is too long": {
    "a name that is too long": named("a".repeat(300)),
  },
  "a path that is too long": {
    "a path that is too long": named(Array.from({ length: 9 }, () => "a".repeat(100)).join("/")),
  },
  "its paths are too long, all together": {
    "paths that are long, all together": makeZip([
      SKILL,
      ...many(400).map((entry) => ({ ...entry, name: `${"d".repeat(150)}/${String(entry.name)}` })),
    ]),
  },
  "it unpacks to far more than it is": {
    "a bomb by ratio": () => withEntry({ name: "bomb", data: zeros.subarray(0, 9 * MIB), deflate: true }),
  },
  "it unpacks to more than 10 MiB": {
    "a bomb by size": () => withEntry({ name: "bomb", data: zeros, deflate: true }),
    "a bomb in pieces": () =>
      makeZip([SKILL, ...[1, 2, 3].map((i) => ({ name: `${i}`, data: Buffer.alloc(4 * MIB, i), deflate: true }))]),
  },
  "it holds more than 500 files": {
    "a bomb by count": makeZip([SKILL, ...many(500)]),
    "a bomb by count of folders": makeZip([SKILL, ...many(1100).map((e) => ({ name: `${String(e.name)}/` }))]),
  },
  "folders that are nested too deep": {
    "a bomb by depth": named(`${"d/".repeat(40)}a.txt`),
  },
  "it holds another archive": {
    "an archive inside": withEntry({ name: "inner.zip", data: makeZip([{ name: "a", data: "1" }]) }),
    "an archive inside, renamed": withEntry({ name: "notes.txt", data: makeZip([{ name: "a", data: "1" }]) }),
    "a compressed file inside": withEntry({ name: "a.gz", data: Buffer.from("1f8b0800000000000003", "hex") }),
  },
  "entries that overlap": {
    "an entry nested in another": () => {
      const inner = makeZip([{ name: "inner", data: "hidden" }])
      const outer: ZipEntry = { name: "outer", data: inner }
      const at = 30 + "SKILL.md".length + Buffer.byteLength(skillMd("greeter")) + 30 + "outer".length
      return makeZip([SKILL, outer, { name: "inner", data: "hidden", offset: at }])
    },
    "entries that share their data": makeZip([
      SKILL,
      { name: "a", data: "1" },
      { name: "SKILL.md", ...{ data: skillMd("greeter") }, offset: 0 },
    ]),
    "data that runs into the next entry": makeZip([{ ...SKILL, packedSize: 300, size: 300 }, ...many(20)]),
    "data that runs into the list": makeZip([SKILL, { name: "a", data: "x", packedSize: 60, size: 60 }]),
  },
  "it is not a whole zip archive": {
    "a list that is shorter than it says": makeZip([SKILL], { count: 2 }),
    "a strongly encrypted entry": withEntry({ name: "secret", data: "x".repeat(40), flags: 0x841 }),
    "torn at the end": makeZip([SKILL]).subarray(0, -10),
    "torn in the middle": makeZip([SKILL, ...many(20)]).subarray(0, 400),
    "torn at the front": makeZip([SKILL, ...many(20)]).subarray(100),
    "no zip at all": Buffer.from("not a zip"),
    "nothing at all": Buffer.alloc(0),
  },
  "a file is not of the size that the archive says": {
    "a size that is too small": withEntry({ name: "liar", data: "y".repeat(5000), deflate: true, size: 10 }),
    "a size that is too large": withEntry({ name: "liar", data: "y".repeat(5000), deflate: true, size: 6000 }),
  },
  "a file does not match its checksum": {
    "a wrong checksum": withEntry({ name: "liar", data: "x", crc: 1 }),
  },
  "its list of files does not end where it says": {
    "a list that is longer than it says": makeZip([SKILL, { name: "a", data: "1" }], { count: 1 }),
    "something between the list and the end": makeZip([SKILL], { gap: Buffer.from("PK\x01\x02 more") }),
  },
  "an entry with two names": {
    "two names for one entry": withEntry({ name: "a.txt", localName: "b.txt", data: "x" }),
  },
  "it is encrypted": {
    "an encrypted entry": withEntry({ name: "secret", data: "x".repeat(40), size: 28, flags: 0x801 }),
    "a masked list": withEntry({ name: "secret", data: "x", flags: 0x2800 }),
  },
  "it is compressed by a method other than deflate": {
    "another compression": withEntry({ name: "a", data: "x", method: 12 }),
  },
  "it holds no file": {
    "no file": makeZip([]),
  },
  "it has no SKILL.md at its root or in its one folder": {
    "no SKILL.md": makeZip([{ name: "README.md", data: "x" }]),
    "SKILL.md in one of two folders": makeZip([
      { name: "a/SKILL.md", data: skillMd("greeter") },
      { name: "b/x", data: "x" },
    ]),
    "SKILL.md too deep": makeZip([{ name: "a/b/SKILL.md", data: skillMd("greeter") }]),
    "skill.md in lower case": makeZip([{ name: "skill.md", data: skillMd("greeter") }]),
  },
  "SKILL.md is named other; that must be the skill's id, greeter": {
    "another name in SKILL.md": makeZip([{ name: "SKILL.md", data: skillMd("other") }]),
  },
  "SKILL.md is not valid: it is not UTF-8 text": {
    "a SKILL.md that is binary": makeZip([{ name: "SKILL.md", data: Buffer.from([0xff, 0xd8, 0xff]) }]),
  },
}

const CASES = Object.entries(HOSTILE).flatMap(([words, archives]) =>
  Object.entries(archives).map(([what, make]) => ({
    words,
    what,
    make: typeof make === "function" ? make : () => make,
  })),
)

describe("a hostile bundle", () => {
  let db: TestDatabase
  let under: SkillsUnderTest
  before(async () => {
    db = await freshSqlite()
    under = await skillsUnderTest({ db })
  })
  after(async () => {
    under[Symbol.dispose]()
    await db[Symbol.asyncDispose]()
  })

  for (const { words, what, make } of CASES) {
    test(`is refused, and nothing of it stays: ${what}`, async () => {
      await assert.rejects(under.upload("greeter", make()), refusal(words))
      assert.deepEqual(await under.files(), [])
      assert.deepEqual(stagingOf(under.dataDir, under.user.id), [])
      assert.deepEqual(await under.skills.list(under.user, AbortSignal.timeout(1000)), [])
    })
  }

  test("does not touch the version that stands", async () => {
    const { skill } = await under.upload("greeter", makeZip([SKILL, { name: "notes.txt", data: "first" }]))
    const standing = await under.files()
    for (const { words, make } of CASES) await assert.rejects(under.upload("greeter", make()), refusal(words))
    assert.deepEqual(await under.files(), standing)
    assert.deepEqual(await under.skills.list(under.user, AbortSignal.timeout(1000)), [skill])
  })

  test("that is longer than the limit is cut off while it comes", async () => {
    let sent = 0
    const endless = async function* () {
      for (;;) {
        sent += MIB
        yield Buffer.alloc(MIB)
      }
    }
    const body = { kind: "zip", bytes: endless() } as const
    const origin = { actor: "user:ada", ip: null, requestId: "r" }
    await assert.rejects(
      under.skills.upload(under.user, "greeter", body, origin, AbortSignal.timeout(5000)),
      (error) => error instanceof AppError && error.code === "too_large",
    )
    assert.ok(sent <= 12 * MIB)
    assert.deepEqual(stagingOf(under.dataDir, under.user.id), [])
  })
})

function refusal(words: string): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof AppError, String(error))
    assert.equal(error.status, 400)
    assert.ok(error.message.includes(words), error.message)
    return true
  }
}
