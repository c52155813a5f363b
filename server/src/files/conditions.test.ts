import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { isNamed, matchesStrongly, rangeOf } from "./conditions.ts"
import { contentTypeOf } from "./content-type.ts"

test("one range of bytes is cut out; several, other units and nonsense give the whole file", () => {
  const table: [header: string | undefined, answer: unknown][] = [
    [undefined, { kind: "whole" }],
    ["bytes=0-0", { kind: "part", start: 0, end: 1 }],
    ["bytes=2-4", { kind: "part", start: 2, end: 5 }],
    ["bytes=2-", { kind: "part", start: 2, end: 10 }],
    ["bytes=-3", { kind: "part", start: 7, end: 10 }],
    ["bytes=-99", { kind: "part", start: 0, end: 10 }],
    ["bytes=5-999", { kind: "part", start: 5, end: 10 }],
    ["BYTES = 1-2", { kind: "whole" }],
    ["bytes=0-1,3-4", { kind: "whole" }],
    ["lines=1-2", { kind: "whole" }],
    ["bytes=-", { kind: "whole" }],
    ["bytes=a-b", { kind: "whole" }],
    ["bytes=10-", { kind: "unsatisfiable" }],
    ["bytes=4-2", { kind: "unsatisfiable" }],
    ["bytes=-0", { kind: "unsatisfiable" }],
    [`bytes=${"9".repeat(400)}-`, { kind: "unsatisfiable" }],
  ]
  for (const [header, answer] of table) assert.deepEqual(rangeOf(header, 10), answer)
  assert.deepEqual(rangeOf("bytes=0-", 0), { kind: "unsatisfiable" })
})

test("no header makes a range beyond the file", () => {
  fc.assert(
    fc.property(fc.nat(50), fc.nat(60), fc.nat(60), (size, a, b) => {
      for (const header of [`bytes=${a}-${b}`, `bytes=${a}-`, `bytes=-${b}`]) {
        const range = rangeOf(header, size)
        if (range.kind === "part") assert.ok(range.start >= 0 && range.start < range.end && range.end <= size)
      }
    }),
  )
})

test("If-Match compares strongly, If-None-Match weakly, a star with whatever is there", () => {
  assert.ok(matchesStrongly(undefined, "x"))
  assert.ok(matchesStrongly("*", "x"))
  assert.ok(matchesStrongly('"y", "x"', "x"))
  assert.ok(!matchesStrongly('W/"x"', "x"))
  assert.ok(!matchesStrongly('"y"', "x"))
  assert.ok(!matchesStrongly("x", "x"))
  assert.ok(!isNamed(undefined, "x"))
  assert.ok(isNamed("*", "x"))
  assert.ok(isNamed('W/"x"', "x"))
  assert.ok(isNamed('"y", "x"', "x"))
  assert.ok(!isNamed('"y"', "x"))
})

test("a file's type comes from its ending, and what is unknown is only bytes", () => {
  assert.equal(contentTypeOf("a/b.MD"), "text/markdown; charset=utf-8")
  assert.equal(contentTypeOf("page.html"), "text/html; charset=utf-8")
  for (const name of ["", "noending", ".bashrc", "a.b/c", "x.exe", "x.constructor"])
    assert.equal(contentTypeOf(name), "application/octet-stream", name)
})
