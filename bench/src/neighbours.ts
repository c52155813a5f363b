import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { silentLogger } from "../../server/src/lib/log.ts"
import { createRedactor } from "../../server/src/lib/redact.ts"
import type { Hands } from "../../server/src/runtime/hands.ts"
import { createSandboxes } from "../../server/src/sandboxes/sandboxes.ts"
import { startOpenAiDouble } from "../../test/doubles/openai.ts"
import { until } from "../../test/until.ts"
import { percentile, type Row } from "./rows.ts"
import { account, benchServer, type Chat, chatTimes, message } from "./server.ts"

const MIB = 1024 * 1024
const NO_SECRETS = { env: {}, redactor: createRedactor([]) }

const ATTACK_SETTLES_MS = 2_000

/** What one tenant may do to hold up another; each for as long as the neighbour is measured. */
const ATTACKS: Record<string, string> = {
  "a fork bomb": "bomb() { bomb | bomb & }; bomb; sleep 600",
  "a memory bomb": "while :; do tail /dev/zero; done",
  "four processor hogs": "for i in 1 2 3 4; do (while :; do :; done) & done; wait",
  "a flood of output": "yes",
  "a flood of files": "i=0; while :; do : > f$((i++)); done",
  "a flood of disk": "while :; do head -c 100M /dev/zero > big; done",
}

/** p99 of another tenant's warm tool calls and chats under each attack, over their p99 in quiet. */
export async function benchNeighbours(): Promise<Row[]> {
  return [...(await benchToolCalls()), ...(await benchChats())]
}

async function benchToolCalls(calls = 300): Promise<Row[]> {
  const dataDir = await mkdtemp(join(tmpdir(), "autonomis-bench-"))
  const sandboxes = createSandboxes({ kind: "bubblewrap", dataDir, log: silentLogger })
  const signal = AbortSignal.timeout(1_800_000)
  const limits = { memoryBytes: 512 * MIB, cpus: 1, pids: 256, storageBytes: 256 * MIB }
  const handsOf = (id: string, hostUid: number) =>
    sandboxes.hands(
      { id, userId: `usr_${id}`, hostUid, limits, network: "none", readOnlyMounts: [] },
      { secrets: async () => NO_SECRETS },
    )
  try {
    const report = await sandboxes.selfTest(signal)
    if (!report.usable) throw new Error(report.problem ?? "the sandbox cannot be used")
    const victim = handsOf("victim", 900_011)
    const rows: Row[] = []
    for (const [name, command] of Object.entries(ATTACKS)) {
      const quiet = await p99Of(victim, calls, signal)
      const attacker = handsOf("attacker", 900_012)
      const stop = new AbortController()
      const attack = attacker.exec({ command, timeoutMs: 600_000 }, () => {}, stop.signal).catch(() => null)
      await new Promise((resolve) => setTimeout(resolve, ATTACK_SETTLES_MS))
      const noisy = await p99Of(victim, calls, signal)
      stop.abort()
      await attack
      await sandboxes.stop("attacker")
      rows.push({
        name: `neighbours: tool call p99 under ${name}, × quiet`,
        median: noisy / quiet,
        unit: "×",
        limit: 2,
      })
    }
    return rows
  } finally {
    await sandboxes[Symbol.asyncDispose]()
    await rm(dataDir, { recursive: true, force: true })
  }
}

async function p99Of(hands: Hands, calls: number, signal: AbortSignal): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < calls; i++) {
    const start = performance.now()
    await hands.exec({ command: "true" }, () => {}, signal)
    times.push(performance.now() - start)
  }
  return percentile(times, 0.99)
}

/**
 * Through the whole server: the attacker's agent is told to by its model, the neighbour only chats. So many chats that
 * six are slower than the 99th percentile: with three it moves by a quarter from run to run.
 */
async function benchChats(chats = 600): Promise<Row[]> {
  await using double = await startOpenAiDouble()
  double.script(() => ({ text: "Hello to you." }))
  await using server = await benchServer(double.url, { AUTONOMIS_DEMO: "on" })
  const victim: Chat = { server, user: "ada", key: await account(server, "ada") }
  const mallory = await account(server, "mallory")
  const agent = "/users/mallory/agents/manager"
  await chatTimes(victim, chats)
  const rows: Row[] = []
  for (const [name, command] of Object.entries(ATTACKS)) {
    // Before and after, so that what else the machine does befalls both alike.
    const quiet = await chatTimes(victim, chats / 2)
    const order = message(`/tool bash ${JSON.stringify({ command })}`, { model: "demo/demo", background: true })
    const started = await server.call("POST", `${agent}/chat`, order, mallory)
    const run = `${agent}/runs/${started.body.run_id}`
    const stateNow = async () => (await server.call("GET", run, undefined, mallory)).body.state
    await new Promise((resolve) => setTimeout(resolve, ATTACK_SETTLES_MS))
    if ((await stateNow()) !== "running") throw new Error(`${name} is not under way: ${await stateNow()}`)
    const noisy = await chatTimes(victim, chats)
    await server.call("POST", `${run}/cancel`, undefined, mallory)
    await until(async () => (await stateNow()) === "cancelled", "the attack has ended", 60_000)
    quiet.push(...(await chatTimes(victim, chats / 2)))
    rows.push({
      name: `neighbours: chat p99 under ${name}, × quiet`,
      median: percentile(noisy, 0.99) / percentile(quiet, 0.99),
      unit: "×",
      limit: 1.5,
    })
  }
  return rows
}
