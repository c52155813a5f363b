import { fork } from "node:child_process"
import { once } from "node:events"
import { constants, setPriority } from "node:os"
import { setTimeout as pause } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { startOpenAiDouble } from "../../test/doubles/openai.ts"
import { percentile, type Row } from "./rows.ts"
import { account, benchServer, type Chat, chatTimes } from "./server.ts"

const CHATS = 120

/** What one tenant's attacks on the agent loop do to another's chats. */
export async function benchHostile(): Promise<Row[]> {
  await using double = await startOpenAiDouble()
  double.script(() => ({ text: "Hello to you." }))
  const attacker = fork(fileURLToPath(new URL("attacker.ts", import.meta.url)))
  // An attacker's own machine, and its provider's, are others: here they get what the server leaves of the cores.
  if (attacker.pid !== undefined) setPriority(attacker.pid, constants.priority.PRIORITY_LOW)
  try {
    const [{ doubleUrl }] = (await once(attacker, "message")) as [{ doubleUrl: string }]
    await using server = await benchServer(double.url, {
      ANTHROPIC_API_KEY: "bench",
      ANTHROPIC_BASE_URL: doubleUrl,
    })
    const victim: Chat = { server, user: "ada", key: await account(server, "ada") }
    const mallory = await account(server, "mallory")
    const model = { model: "anthropic/bench" }
    const set = await server.call("PATCH", "/users/mallory/agents/manager/config", model, mallory)
    if (set.status !== 200) throw new Error(JSON.stringify(set.body))
    const measure = () => chatTimes(victim, CHATS)
    await measure()
    const quiet = await measure()
    attacker.send({ url: server.url, key: mallory })
    await pause(1000)
    const attacked = await measure()
    return [
      {
        name: "p99 of a chat while another tenant attacks, beside quiet",
        median: percentile(attacked, 0.99) / percentile(quiet, 0.99),
        unit: "×",
        limit: 2,
      },
      { name: "p99 of a quiet chat", median: percentile(quiet, 0.99), unit: "ms", limit: null },
    ]
  } finally {
    attacker.kill("SIGKILL")
  }
}
