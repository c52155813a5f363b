import assert from "node:assert/strict"
import { test } from "node:test"
import { inOwnNetwork, runInOwnNetwork } from "./egress/own-network.ts"
import { bubblewrapWith, escapesOf, onGround, REMOVED } from "./escape-ground.ts"
import { BOUNDARIES } from "./escapes.ts"

/** With TEST_LONG every way is tried against every missing boundary of its own, and the table is printed. */
const whole = Boolean(process.env.TEST_LONG)

if (!inOwnNetwork)
  test("each boundary taken away, in a network of the test's own", () => runInOwnNetwork(import.meta.filename))

for (const boundary of inOwnNetwork ? BOUNDARIES : []) {
  test(`without "${boundary}" its tests fail: they do test it`, async (t) => {
    const escaped: string[] = []
    await onGround(bubblewrapWith({ ...REMOVED[boundary], openAnyway: true }), async ({ attempt, driver }) => {
      const { usable } = await driver.selfTest(AbortSignal.timeout(60_000))
      for (const way of escapesOf(boundary)) {
        const said = await attempt(way)
        const held = way.held.test(said) && !said.includes("ESCAPED")
        if (!held) escaped.push(way.name)
        if (whole)
          t.diagnostic(
            `| ${boundary} | ${way.name} | ${held ? "held by another" : "escapes"} | ${usable ? "" : "refused"} |`,
          )
        if (!held && !whole) break
      }
    })
    assert.ok(escaped.length > 0, "a way out opens")
  })
}
