import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { test } from "node:test"

/** How long many ticks take at best, in milliseconds, after a collection of everything in a program of its own. */
function ticksAfterCollection(keep: boolean): number {
  const program = `
    import { keepTickShape } from ${JSON.stringify(new URL("./tick-shape.ts", import.meta.url).href)}
    const turn = () => new Promise((resolve) => setTimeout(resolve, 1))
    ${keep ? "keepTickShape()" : ""}
    for (let i = 0; i < 300; i++) process.nextTick(() => {})
    await turn()
    gc({ type: "major", execution: "sync", flavor: "last-resort" })
    let best = Infinity
    for (let round = 0; round < 30; round++) {
      const start = performance.now()
      for (let i = 0; i < 10_000; i++) process.nextTick(() => {})
      best = Math.min(best, performance.now() - start)
      await turn()
    }
    console.log(best)`
  return Number(execFileSync(process.execPath, ["--expose-gc", "--input-type=module-typescript", "-e", program]))
}

test("after a collection of everything ticks are as quick as before, which they are not by themselves", () => {
  const [kept, lost] = [ticksAfterCollection(true), ticksAfterCollection(false)]
  assert.ok(kept * 3 < lost, `${kept} ms with the shape kept, ${lost} ms without`)
})
