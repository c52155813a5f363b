import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { test } from "node:test"
import { createRedactor, isMaskable } from "./redact.ts"

const TOKEN = 'ghp_a/B+c d"e\\f?é'
const PEM = `-----BEGIN KEY-----\n${Array.from({ length: 20 }, (_, i) => `k${100 + i}QmFzZTY0TGluZU9mQUtleVRoYXRJc0xvbmdFbm91Z2hUb0JlNjRDaGFyc0xvbmc`).join("\n")}\n-----END KEY-----\n`
const redactor = createRedactor([
  { name: "TOKEN", value: TOKEN },
  { name: "PEM", value: PEM },
  { name: "SHORT", value: "1234567" },
  { name: "PART", value: "password1" },
  { name: "WHOLE", value: "password123456" },
])

const FORMS: Record<string, string> = {
  raw: TOKEN,
  base64: Buffer.from(TOKEN).toString("base64"),
  base64url: Buffer.from(TOKEN).toString("base64url"),
  hex: Buffer.from(TOKEN).toString("hex"),
  HEX: Buffer.from(TOKEN).toString("hex").toUpperCase(),
  url: encodeURIComponent(TOKEN),
  form: new URLSearchParams({ a: TOKEN }).toString().slice(2),
  json: JSON.stringify(TOKEN).slice(1, -1),
  jsonAscii: JSON.stringify(TOKEN).slice(1, -1).replace("é", "\\u00e9"),
}

test("a value is masked in each of its forms, in one piece and cut at every place", () => {
  for (const [name, form] of Object.entries(FORMS)) {
    const text = `before ${form} after`
    for (let cut = 0; cut <= text.length; cut++) {
      const stream = redactor.stream()
      const out = stream.push(text.slice(0, cut)) + stream.push(text.slice(cut)) + stream.end()
      assert.equal(out, "before [secret TOKEN] after", `${name} cut at ${cut}`)
    }
  }
})

test("a value is masked when it comes one character at a time", () => {
  const stream = redactor.stream()
  const out = [...`x${TOKEN}y${PEM}z`].map((char) => stream.push(char)).join("") + stream.end()
  assert.equal(out, "x[secret TOKEN]y[secret PEM]z")
})

test("a value inside a longer text's base64 is masked wherever it stands", () => {
  for (const before of ["", "a", "ab", "abc", "user:"]) {
    const encoded = Buffer.from(`${before}${TOKEN}:tail`).toString("base64")
    const out = redactor.text(encoded)
    assert.match(out, /\[secret TOKEN\]/, before)
    assert.ok(
      !Buffer.from(out.replace(/\[secret TOKEN\]/, "****"), "base64")
        .toString()
        .includes("a/B+c"),
      before,
    )
  }
})

test("each line of a value of several lines is masked, also without its indent", () => {
  for (const line of PEM.split("\n").filter((line) => line.length >= 8)) {
    assert.equal(redactor.text(`a ${line} b`), "a [secret PEM] b")
  }
  assert.equal(redactor.text(JSON.stringify({ key: PEM })), '{"key":"[secret PEM]"}')
})

test("base64 that a tool broke into lines is masked to its end", () => {
  const encoded = Buffer.from(PEM).toString("base64").replace(/.{76}/g, "$&\n")
  const stream = redactor.stream()
  let out = ""
  for (let at = 0; at < encoded.length; at += 7) out += stream.push(encoded.slice(at, at + 7))
  out += stream.push("\nnext line\n") + stream.end()
  assert.equal(out, "[secret PEM]\nnext line\n")
})

test("values under 8 characters are left alone, and it can be asked", () => {
  assert.equal(redactor.text("1234567 1234567"), "1234567 1234567")
  assert.equal(isMaskable("1234567"), false)
  assert.equal(isMaskable("12345678"), true)
})

test("of two values that begin alike the longer is masked whole", () => {
  assert.equal(redactor.text("password123456 password1 password12"), "[secret WHOLE] [secret PART] [secret PART]2")
  const stream = redactor.stream()
  assert.equal(stream.push("password1") + stream.push("23456!") + stream.end(), "[secret WHOLE]!")
})

test("a long value that was cut off is masked", () => {
  const value = randomBytes(3000).toString("base64")
  const one = createRedactor([{ name: "LONG", value }])
  assert.equal(one.text(`x ${value.slice(0, 1000)}`), "x [secret LONG]")
  assert.equal(one.text(`x ${value}y`), "x [secret LONG]y")
})

test("only what could be a beginning is held back", () => {
  const stream = redactor.stream()
  assert.equal(stream.push("$ ready\n"), "$ ready\n")
  assert.equal(stream.push("say pass"), "say ")
  assert.equal(stream.push("able\n"), "passable\n")
  assert.equal(stream.push("ghp_"), "")
  assert.equal(stream.end(), "ghp_")
})

test("bytes are masked in text and inside binary data, and say so", () => {
  const binary = Buffer.concat([Buffer.from([0xff, 0xfe, 0]), Buffer.from("password1"), Buffer.from([0xff])])
  assert.deepEqual(redactor.bytes(binary), {
    data: Buffer.concat([Buffer.from([0xff, 0xfe, 0]), Buffer.from("[secret PART]"), Buffer.from([0xff])]),
    masked: true,
  })
  const harmless = randomBytes(1000)
  const kept = redactor.bytes(harmless)
  assert.equal(kept.masked, false)
  assert.deepEqual(Buffer.from(kept.data), harmless)
})

test("text without secrets passes unchanged, whatever the pieces", () => {
  const text = randomBytes(20_000).toString("base64")
  const stream = redactor.stream()
  let out = ""
  for (let at = 0; at < text.length; at += 997) out += stream.push(text.slice(at, at + 997))
  assert.equal(out + stream.end(), text)
})

test("1,000 secrets of 64 KiB are all masked, and hostile likeness does not make it slow", () => {
  const many = Array.from({ length: 1000 }, (_, i) => ({
    name: `S${i}`,
    value: `${"A".repeat(40)}${i}`.padEnd(65_536, "B"),
  }))
  many.push(
    ...Array.from({ length: 200 }, (_, i) => ({
      name: `R${i}`,
      value: randomBytes(40).toString("hex").padEnd(65_536, "x"),
    })),
  )
  const one = createRedactor(many)
  for (const secret of many.slice(1000)) assert.equal(one.text(`(${secret.value})`), `(${`[secret ${secret.name}]`})`)
  // A cost per character that grew with the number of secrets would be 1,000 times the quiet one.
  const quiet = timed(() => createRedactor([{ name: "A", value: "unrelated" }]).text("A".repeat(200_000)))
  const hostile = timed(() => one.text("A".repeat(200_000)))
  assert.ok(hostile < Math.max(quiet, 1) * 200, `${hostile} against ${quiet}`)
})

function timed(run: () => void): number {
  const start = performance.now()
  run()
  return performance.now() - start
}
