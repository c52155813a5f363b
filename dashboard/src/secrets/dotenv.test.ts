import assert from "node:assert/strict"
import { test } from "node:test"
import { looksLikeDotenv, parseDotenv } from "./dotenv.ts"

const CASES: [name: string, text: string, pairs: [string, string][]][] = [
  [
    "plain",
    "A=1\nB=two words",
    [
      ["A", "1"],
      ["B", "two words"],
    ],
  ],
  [
    "export, spaces and Windows line ends",
    "export A = x\r\n  B=y\r\n",
    [
      ["A", "x"],
      ["B", "y"],
    ],
  ],
  [
    "comments",
    "# A=1\nB=2 # two\nC=a#b",
    [
      ["B", "2"],
      ["C", "a#b"],
    ],
  ],
  [
    "quotes",
    `A="x # y"\nB='it "is"'\nC="a\\nb\\"c"`,
    [
      ["A", "x # y"],
      ["B", 'it "is"'],
      ["C", 'a\nb"c'],
    ],
  ],
  [
    "a value over several lines",
    'K="-----BEGIN\nabc\n-----END"\nL=1',
    [
      ["K", "-----BEGIN\nabc\n-----END"],
      ["L", "1"],
    ],
  ],
  [
    "an empty value",
    "A=\nB=1",
    [
      ["A", ""],
      ["B", "1"],
    ],
  ],
]
for (const [name, text, pairs] of CASES)
  test(`a .env is understood: ${name}`, () => {
    assert.deepEqual(
      parseDotenv(text).map(({ key, value }) => [key, value]),
      pairs,
    )
  })

test("a bare name that is pasted is not taken for a .env", () => {
  assert.equal(looksLikeDotenv("GITHUB_TOKEN"), false)
  assert.equal(looksLikeDotenv("GITHUB_TOKEN=x"), true)
})
