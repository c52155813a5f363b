import { fork } from "node:child_process"
import { once } from "node:events"
import { constants, setPriority } from "node:os"
import { setTimeout as pause } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { startOpenAiDouble } from "../../test/doubles/openai.ts"
import { percentile, type Row } from "./rows.ts"
import { account, benchServer, type Chat, chatTimes } from "./server.ts"

const CHATS = 120
const ROUNDS = 4

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
    await chatTimes(victim, CHATS)
    attacker.send({ url: server.url, key: mallory })
    const quiet: number[] = []
    const attacked: number[] = []
    // In turn, so that what else the machine does befalls both alike.
    for (let round = 0; round < ROUNDS; round++) {
      attacker.kill("SIGSTOP")
      await pause(1000)
      quiet.push(...(await chatTimes(victim, CHATS)))
      attacker.kill("SIGCONT")
      await pause(1000)
      attacked.push(...(await chatTimes(victim, CHATS)))
    }
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
