import assert from "node:assert/strict"
import { test } from "node:test"
import { scrubKeys } from "./scrub.ts"

test("known values and whatever looks like a key become [key]", () => {
  for (const [text, clean] of [
    ["wrong key MyOwnKey99 here", "wrong key [key] here"],
    ["Incorrect API key provided: sk-ab***************wxyz.", "Incorrect API key provided: [key]"],
    ["sk-ant-api03-abc_DEF-123 and AIzaSyA1234567890abcdef", "[key] and [key]"],
    ["Authorization: Bearer abcdefghijklmnop1234", "Authorization: Bearer [key]"],
    ["x-api-key: 0123456789abcdef0123", "x-api-key: [key]"],
    ['{"token":"0123456789abcdef0123"}', '{"token":"[key]"}'],
    ["gsk_abcdefgh12345678", "[key]"],
    ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "[key]"],
  ]) {
    assert.equal(scrubKeys(text ?? "", ["MyOwnKey99"]), clean)
  }
})

test("a known key is scrubbed in every form in which a provider could say it back", () => {
  const key = 'My+own/key 99"é'
  const encoded = {
    plain: key,
    base64: Buffer.from(key).toString("base64"),
    base64url: Buffer.from(key).toString("base64url"),
    basic: Buffer.from(`user:${key}`).toString("base64"),
    hex: Buffer.from(key).toString("hex"),
    HEX: Buffer.from(key).toString("hex").toUpperCase(),
    url: encodeURIComponent(key),
    form: new URLSearchParams({ k: key }).toString().slice(2),
    json: JSON.stringify(key).slice(1, -1),
  }
  for (const [form, text] of Object.entries(encoded)) {
    const clean = scrubKeys(`provider says: <${text}> is no key`, [key])
    assert.match(clean, /^provider says: <.{0,8}\[key\].{0,4}> is no key$/, form)
  }
  const long = "k".repeat(20).concat("0123456789".repeat(5))
  assert.equal(scrubKeys(`was ${Buffer.from(long).toString("hex")}!`, [long]), "was [key]!")
  assert.equal(scrubKeys("PIN 1234 is wrong", ["1234", ""]), "PIN [key] is wrong")
})

test("ordinary words of an error stay", () => {
  const text =
    "The model `gpt-9` does not exist or you do not have access to it (max_tokens: 8192, token limit exceeded). secret ANTHROPIC_API_KEY is not set"
  assert.equal(scrubKeys(text, []), text)
})
