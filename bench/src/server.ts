import { readFileSync } from "node:fs"
import { setTimeout as pause } from "node:timers/promises"
import { startServer, type TestServer } from "../../test/server.ts"
import { until } from "../../test/until.ts"

const PAGE_BYTES = 4096
const TICK_MS = 10

export const MODEL = "openai/bench"

/** A server whose platform has a provider double. */
export function benchServer(
  doubleUrl: string,
  more: Record<string, string> = {},
  dataDir?: string,
): Promise<TestServer> {
  return startServer({
    trusting: true,
    env: {
      OPENAI_API_KEY: "bench",
      OPENAI_BASE_URL: `${doubleUrl}/v1`,
      AUTONOMIS_DEFAULT_MODEL: MODEL,
      ...more,
    },
    ...(dataDir === undefined ? {} : { dataDir }),
  })
}

/** A user without limits and an agent that is ready; gives the user's key. */
export async function account(server: TestServer, user: string, agents = ["manager"]): Promise<string> {
  const made = await must(server.call("POST", "/users", { user, tier: "enterprise" }))
  for (let i = 0; i < agents.length; i += 50) {
    const some = agents.slice(i, i + 50).map((name) => ({ name }))
    await must(server.call("POST", `/users/${user}/agents`, { agents: some }))
  }
  const ready = async () => (await server.call("GET", `/users/${user}/deploy/status`)).body.status === "ready"
  await until(ready, "the agents are ready", 120_000)
  return made.body.api_key
}

async function must<T extends { status: number; body: unknown }>(answer: Promise<T>): Promise<T> {
  const got = await answer
  if (got.status >= 300) throw new Error(`${got.status} ${JSON.stringify(got.body)}`)
  return got
}

export function residentMb(pid: number): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1])
  return (pages * PAGE_BYTES) / 1e6
}

/** CPU time that the process has used so far. */
export function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? []
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

export interface Chat {
  server: TestServer
  key: string
  user: string
  agent?: string
}

export const message = (content: string, more: Record<string, unknown> = {}) => ({
  messages: [{ role: "user", content }],
  ...more,
})

/** One whole chat; throws unless it was answered. */
export async function chat({ server, key, user, agent = "manager" }: Chat, body: unknown): Promise<void> {
  const answer = await server.call("POST", `/users/${user}/agents/${agent}/chat`, body, key)
  if (answer.status !== 200) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`)
}

/** How long each of so many chats took, a little apart. */
export async function chatTimes(one: Chat, count: number): Promise<number[]> {
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    const start = performance.now()
    await chat(one, message("hello"))
    times.push(performance.now() - start)
    await pause(5)
  }
  return times
}

/** The answer to a streamed chat; its body is the caller's to read. */
export function stream({ server, key, user, agent = "manager" }: Chat, body: unknown): Promise<Response> {
  return fetch(`${server.url}/api/v1/users/${user}/agents/${agent}/chat/stream`, {
    method: "POST",
    headers: { "X-API-Key": key, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  })
}
