import assert from "node:assert/strict"
import { test } from "node:test"
import { NO_LIMITS } from "../chat/test-kit.ts"
import { createStorage } from "./storage.ts"

test("what is added counts at once, and what was removed as soon as it matters", async () => {
  let kept = 40
  let looks = 0
  const storage = createStorage({
    limits: async () => ({ ...NO_LIMITS, storage_bytes: 100 }),
    sources: [async () => ++looks && kept, async () => 10],
    now: () => 0,
  })
  await storage.ensure("usr_1", 20)
  await storage.ensure("usr_1", 20)
  assert.equal(looks, 1)
  kept = 80
  await assert.rejects(storage.ensure("usr_1", 20), { code: "plan_limit" })
  kept = 0
  await storage.ensure("usr_1", 90)
  assert.equal(looks, 3)
})

test("a plan without a limit measures nothing", async () => {
  const never = () => Promise.reject(new Error("measured"))
  const storage = createStorage({ limits: async () => NO_LIMITS, sources: [never], now: () => 0 })
  await storage.ensure("usr_1", 1e12)
})
