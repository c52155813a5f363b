import assert from "node:assert/strict"
import { test } from "node:test"
import { startApp, type TestApp } from "../app.ts"
import { forEachDatabase } from "../databases.ts"
import { newCast } from "./cast.ts"

const ROUNDS = process.env.TEST_LONG ? 1500 : 150
const NOISE = 1.5

async function measure(app: TestApp, key: string, paths: readonly string[]): Promise<number[]> {
  const times: number[][] = paths.map(() => [])
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, path] of paths.entries()) {
      const start = performance.now()
      await app.call("GET", path, { key })
      times[i]?.push(performance.now() - start)
    }
  return times.map((some) => some.sort((a, b) => a - b)[Math.floor(some.length / 2)] ?? 0)
}

forEachDatabase((_name, open) => {
  test("another tenant's things take as long to refuse as things that are not there", async () => {
    await using db = await open()
    await using app = await startApp(db)
    const [mine, theirs] = [await newCast(app), await newCast(app)]
    const paths = [
      theirs.path,
      "/users/cast-0",
      `${theirs.path}/agents/manager/files/notes.txt`,
      "/users/cast-0/agents/manager/files/notes.txt",
    ]
    // A machine under load tells differences where there are none: one quiet look of three is enough.
    let ratios: number[] = []
    for (let tries = 0; tries < 3; tries++) {
      const [there = 0, absent = 1, fileThere = 0, fileAbsent = 1] = await measure(app, mine.user.key, paths)
      ratios = [there / absent, absent / there, fileThere / fileAbsent, fileAbsent / fileThere]
      if (ratios.every((ratio) => ratio < NOISE)) return
    }
    assert.fail(`the times differ: ${ratios.map((r) => r.toFixed(2)).join(", ")}`)
  })
})
