import assert from "node:assert/strict"
import { after, test } from "node:test"
import { dockerObstacle, testDocker } from "../../../test/docker.ts"
import { dockerWith } from "./docker-ground.ts"
import { inOwnNetwork, runInNetworkOf } from "./egress/own-network.ts"
import { escapesOf, onGround } from "./escape-ground.ts"
import { BOUNDARIES, type Boundary, ESCAPES } from "./escapes.ts"

/** With TEST_LONG every way is tried against every missing boundary of its own, and the table is printed. */
const whole = Boolean(process.env.TEST_LONG)
const AT_ONCE = 3
/** What is only asked for, or looked at: a container for each way would take most of the time. */
const LEAVES_NOTHING: Boundary[] = ["host files hidden", "own uid", "own processes only", "no network", "seccomp"]
const obstacle = dockerObstacle()

if (obstacle !== null) test("ways out of a container", { skip: obstacle }, () => {})
else {
  const docker = await testDocker()
  after(() => docker[Symbol.asyncDispose]())
  if (inOwnNetwork) register(docker.socket)
  else
    test("ways out of a container, in the network of the tests' own daemon", () =>
      runInNetworkOf(docker.pid, import.meta.filename))
}

function register(socket: string): void {
  test(`${ESCAPES.length} ways out of a container that a hostile model would try`, { concurrency: AT_ONCE }, (t) =>
    onGround(dockerWith(socket, null), async ({ attempt, attemptTogether }) => {
      await Promise.all(
        ESCAPES.map((way) =>
          t.test(`${way.boundary}: ${way.name}`, async () => {
            const said = await (!whole && LEAVES_NOTHING.includes(way.boundary) ? attemptTogether(way) : attempt(way))
            assert.match(said, way.held)
            assert.doesNotMatch(said, /ESCAPED/)
          }),
        ),
      )
    }),
  )

  for (const boundary of BOUNDARIES) {
    test(`without "${boundary}" its tests fail, and the self-test refuses: they do test it`, async (t) => {
      const escaped: string[] = []
      await onGround(dockerWith(socket, boundary), async ({ attempt, driver }) => {
        const { usable } = await driver.selfTest(AbortSignal.timeout(60_000))
        assert.equal(usable, false)
        for (const way of escapesOf(boundary)) {
          const said = await attempt(way)
          const held = way.held.test(said) && !said.includes("ESCAPED")
          if (!held) escaped.push(way.name)
          if (whole) t.diagnostic(`| ${boundary} | ${way.name} | ${held ? "held by another" : "escapes"} | yes |`)
          if (!held && !whole) break
        }
      })
      assert.ok(escaped.length > 0, "a way out opens")
    })
  }
}
