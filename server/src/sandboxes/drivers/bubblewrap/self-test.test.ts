import assert from "node:assert/strict"
import { test } from "node:test"
import { notesOn } from "./self-test.ts"

test("what control groups do not hold is told with its cure, also where they hold a part", () => {
  assert.deepEqual(notesOn(["cpu limit", "memory limit", "process limit"]), [])
  assert.match(notesOn(["memory limit", "process limit"]).join(), /the processor here: .*`Delegate=yes`/)
  assert.match(notesOn([]).join(), /memory and CPU of a sandbox are not limited.*`Delegate=yes`/)
})
