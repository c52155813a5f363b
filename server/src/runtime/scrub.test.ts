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

test("ordinary words of an error stay", () => {
  const text =
    "The model `gpt-9` does not exist or you do not have access to it (max_tokens: 8192, token limit exceeded). secret ANTHROPIC_API_KEY is not set"
  assert.equal(scrubKeys(text, []), text)
})
