import assert from "node:assert/strict"
import { test } from "node:test"
import { createStepBack } from "./step-back.ts"

function ground() {
  const steps: [string, boolean][] = []
  return {
    steps,
    step: (userId: string, back: boolean) => void steps.push([userId, back]),
    sandbox: (userId: string) => {
      const state = { userId, count: 0, periods: () => state.count }
      return state
    },
  }
}

test("who keeps the processor busy for a second steps back, and comes back with the first rest", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] })
  const { steps, step, sandbox } = ground()
  using stepBack = createStepBack({ step })
  const [hog, calm] = [sandbox("hog"), sandbox("calm")]
  const ends = [stepBack.watch(hog), stepBack.watch(calm)]
  const quarter = (hogged: number, calmed: number) => {
    hog.count += hogged
    calm.count += calmed
    t.mock.timers.tick(250)
  }
  for (let i = 0; i < 3; i++) quarter(3, 2)
  assert.deepEqual(steps, [], "for less nobody is sent back")
  quarter(2, 2)
  assert.deepEqual(steps, [["hog", true]])
  quarter(2, 2)
  assert.equal(steps.length, 1, "said once")
  quarter(0, 2)
  assert.deepEqual(steps.at(-1), ["hog", false])
  for (const end of ends) end()
  quarter(50, 50)
  assert.equal(steps.length, 2, "nothing is looked at any more")
})

test("a user is back while one of theirs is busy, and with the last that closes no longer", (t) => {
  t.mock.timers.enable({ apis: ["setInterval"] })
  const { steps, step, sandbox } = ground()
  using stepBack = createStepBack({ step })
  const [one, other] = [sandbox("ada"), sandbox("ada")]
  const ends = [stepBack.watch(one), stepBack.watch(other)]
  for (let i = 0; i < 6; i++) {
    other.count += 3
    t.mock.timers.tick(250)
  }
  assert.deepEqual(steps, [["ada", true]])
  ends[1]?.()
  ends[0]?.()
  assert.deepEqual(steps.at(-1), ["ada", false])
})
