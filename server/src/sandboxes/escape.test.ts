import assert from "node:assert/strict"
import { test } from "node:test"
import { inOwnNetwork, runInOwnNetwork } from "./egress/own-network.ts"
import { bubblewrapWith, onGround } from "./escape-ground.ts"
import { ESCAPES } from "./escapes.ts"

if (!inOwnNetwork)
  test("ways out of the sandbox, in a network of the test's own", () => runInOwnNetwork(import.meta.filename))
else
  test(`${ESCAPES.length} ways out of the sandbox that a hostile model would try`, async (t) => {
    assert.ok(ESCAPES.length >= 40)
    await onGround(bubblewrapWith({}), async ({ attempt }) => {
      for (const way of ESCAPES) {
        await t.test(`${way.boundary}: ${way.name}`, async () => {
          const said = await attempt(way)
          assert.match(said, way.held)
          assert.doesNotMatch(said, /ESCAPED/)
        })
      }
    })
  })
