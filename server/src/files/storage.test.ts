import assert from "node:assert/strict"
import { test } from "node:test"
import { createStorage, type StorageOptions } from "./storage.ts"

const owner = (id: string) => ({ id, userId: "usr_1", hostUid: 1 })

function storageWith(options: Partial<StorageOptions> = {}) {
  const state = { now: 0, workspace: 30, others: 20, walks: 0 }
  const storage = createStorage({
    now: () => state.now,
    limit: async () => 100,
    owners: async () => [owner("agt_1")],
    workspaceBytes: async () => {
      state.walks++
      return state.workspace
    },
    otherBytes: async () => state.others,
    ...options,
  })
  return { storage, state }
}

test("everything that a user keeps counts, and what was added counts at once", async () => {
  const { storage, state } = storageWith()
  assert.equal(await storage.usedBytes("usr_1"), 50)
  await storage.ensure("usr_1", 30)
  await storage.ensure("usr_1", 20)
  await assert.rejects(storage.ensure("usr_1", 1), { code: "plan_limit", extra: { limit: "storage_bytes", max: 100 } })
  assert.equal(state.walks, 1, "a workspace is not walked each time")
})

test("many writes at once never pass the limit, and a write that failed gives its room back", async () => {
  const { storage } = storageWith()
  const holds = await Promise.all(Array.from({ length: 100 }, () => storage.hold("usr_1", "agt_1")))
  const taken = holds.filter((hold) => {
    try {
      hold.take(10)
      return true
    } catch {
      return false
    }
  })
  assert.equal(taken.length, 5)
  assert.equal(await storage.usedBytes("usr_1"), 100)
  taken[0]?.settle(0)
  taken[1]?.settle(10)
  assert.equal(await storage.usedBytes("usr_1"), 90)
})

test("what commands have written shows at the next look after their run, and what was removed makes room", async () => {
  const { storage, state } = storageWith()
  await storage.usedBytes("usr_1")
  Object.assign(state, { workspace: 80, others: 15 })
  assert.equal(await storage.usedBytes("usr_1"), 50)
  storage.workspaceChanged("usr_1", "agt_1")
  assert.equal(await storage.usedBytes("usr_1"), 100)
  storage.changed("usr_1")
  assert.equal(await storage.usedBytes("usr_1"), 95)
  state.workspace = 0
  state.now += 61_000
  assert.equal(await storage.usedBytes("usr_1"), 15)
})

test("an unlimited plan measures nothing; a user who is gone stores nothing", async () => {
  const never = () => Promise.reject(new Error("measured"))
  const { storage } = storageWith({ limit: async () => null, owners: never })
  await storage.ensure("usr_1", 1e15)
  const hold = await storage.hold("usr_1", "agt_1")
  hold.take(1e15)
  hold.settle(1e15)
  const gone = storageWith({ limit: async () => undefined })
  await assert.rejects(gone.storage.ensure("usr_1", 1), { code: "not_found" })
})
