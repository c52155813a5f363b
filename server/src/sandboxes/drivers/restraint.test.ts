import assert from "node:assert/strict"
import { type TestContext, test } from "node:test"
import { createRestraint } from "./restraint.ts"

function ground(t: TestContext) {
  t.mock.timers.enable({ apis: ["setInterval"] })
  const restraint = createRestraint()
  const told: boolean[] = []
  const one = { count: 0, kills: () => one.count, restrain: (on: boolean) => void told.push(on) }
  const end = restraint.watch(one)
  return {
    told,
    end,
    second(kills: number): void {
      one.count += kills
      t.mock.timers.tick(1000)
    },
  }
}

test("who is killed for memory twice in ten seconds is restrained, until half a minute without", (t) => {
  const { told, second, end } = ground(t)
  second(1)
  for (let i = 0; i < 5; i++) second(0)
  assert.deepEqual(told, [], "one may be a mishap")
  second(1)
  assert.deepEqual(told, [true])
  for (let i = 0; i < 29; i++) second(0)
  assert.deepEqual(told, [true], "not yet")
  second(1)
  for (let i = 0; i < 29; i++) second(0)
  assert.deepEqual(told, [true], "one more begins the half minute anew, and is not told again")
  second(0)
  assert.deepEqual(told, [true, false])
  end()
})

test("kills that are far from each other restrain nobody, and whoever has ended is not looked at", (t) => {
  const { told, second, end } = ground(t)
  for (let i = 0; i < 5; i++) {
    second(1)
    for (let j = 0; j < 10; j++) second(0)
  }
  end()
  second(10)
  assert.deepEqual(told, [])
})
