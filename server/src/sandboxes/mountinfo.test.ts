import assert from "node:assert/strict"
import { test } from "node:test"
import { silentLogger } from "../lib/log.ts"
import { createRedactor } from "../lib/redact.ts"
import { createSandboxes } from "./sandboxes.ts"
import { anySignal, specOf, temporaryFolder } from "./testing.ts"

const secrets = async () => ({ env: {}, redactor: createRedactor([]) })

test("a sandbox's table of mounts names its own workspace, and neither another agent's nor another user's", async () => {
  await using folder = await temporaryFolder()
  await using sandboxes = createSandboxes({ kind: "bubblewrap", dataDir: folder.path, log: silentLogger })
  const [own, sibling, stranger] = [specOf(), specOf(), specOf({ userId: "usr_stranger" })]
  const bash = async (spec: typeof own, command: string) =>
    (await sandboxes.hands(spec, { secrets }).exec({ command }, () => {}, anySignal())).output
  for (const other of [sibling, stranger]) await bash(other, "touch file")
  const mounts = await bash(own, "cat /proc/self/mountinfo /proc/self/mounts /proc/self/mountstats")
  assert.match(mounts, / \/work /)
  for (const { id } of [sibling, stranger]) assert.ok(!mounts.includes(id), mounts)
  assert.ok(!mounts.includes("usr_stranger"), mounts)
})
