import assert from "node:assert/strict"
import { test } from "node:test"
import { createFairGate } from "./fair-gate.ts"
import { anySignal } from "./testing.ts"

test("who waits is let in by turns of the users, in order within a user", async () => {
  const gate = createFairGate({ total: 1, perUser: 1 })
  const order: string[] = []
  const first = await gate.enter("x", anySignal())
  const waits = ["a1", "a2", "a3", "b1", "c1"].map(async (name) => {
    const leave = await gate.enter(name.charAt(0), anySignal())
    order.push(name)
    leave()
  })
  first()
  await Promise.all(waits)
  assert.deepEqual(order, ["a1", "b1", "c1", "a2", "a3"])
})

test("a user at its own limit does not hold up others, and both limits hold", async () => {
  const gate = createFairGate({ total: 3, perUser: 2 })
  const leaves = [await gate.enter("a", anySignal()), await gate.enter("a", anySignal())]
  let third = false
  const waiting = gate.enter("a", anySignal()).then((leave) => {
    third = true
    return leave
  })
  const other = await gate.enter("b", anySignal())
  assert.equal(third, false)
  assert.equal(gate.waiting, 1)
  leaves[0]?.()
  leaves[0]?.()
  const leave = await waiting
  let fourth = false
  void gate.enter("b", anySignal()).then(() => {
    fourth = true
  })
  await Promise.resolve()
  assert.equal(fourth, false, "giving a place back twice makes no second one")
  leave()
  other()
})

test("an aborted wait leaves no trace", async () => {
  const gate = createFairGate({ total: 1, perUser: 1 })
  const leave = await gate.enter("a", anySignal())
  const stop = new AbortController()
  const waiting = gate.enter("b", stop.signal)
  stop.abort(new Error("stop"))
  await assert.rejects(waiting, /stop/)
  assert.equal(gate.waiting, 0)
  leave()
  ;(await gate.enter("c", anySignal()))()
})

test("it is told who has to wait for what", async () => {
  const blocked: string[] = []
  const gate = createFairGate({ total: 2, perUser: 1, onBlocked: (user, by) => blocked.push(`${user} ${by}`) })
  const one = await gate.enter("a", anySignal())
  const again = gate.enter("a", anySignal())
  const two = await gate.enter("b", anySignal())
  const late = gate.enter("c", anySignal())
  assert.deepEqual(blocked, ["a user", "c total"])
  one()
  two()
  ;(await again)()
  ;(await late)()
})
