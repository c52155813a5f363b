import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import type { DatabaseName } from "../../test/databases.ts"
import { stopOwnPostgres } from "../../test/postgres.ts"
import { startServer, type TestServer } from "../../test/server.ts"
import { load, request } from "./load.ts"
import { interleaved, median, percentile, type Row } from "./rows.ts"
import { account } from "./server.ts"

const CONNECTIONS = 50
const SLICE_MS = 600
const WARM_UP_ROUNDS = 3
const ROUNDS = 5
const MANY_USERS = 10_000
const FEW_USERS = 100

/** Answers a second beside a bare handler of the same JSON, and whether a list is as quick with many users. */
export async function benchApi(): Promise<Row[]> {
  try {
    return [...(await throughput("sqlite")), ...(await throughput("postgres")), ...(await lists())]
  } finally {
    await stopOwnPostgres()
  }
}

async function throughput(database: DatabaseName): Promise<Row[]> {
  await using server = await startServer({ database, trusting: true })
  await account(server, "ada")
  const agent = await server.call("GET", "/users/ada/agents/manager")
  const user = await server.call("POST", "/users", { user: "sample" })
  await using bare = await bareServer({ GET: JSON.stringify(agent.body), POST: JSON.stringify(user.body) })
  let made = 0
  const get = () => request("GET", "/api/v1/users/ada/agents/manager", server.adminKey)
  const post = () => request("POST", "/api/v1/users", server.adminKey, JSON.stringify({ user: `u-${made++}` }))
  const rates: Record<string, number[]> = {}
  const measure = (name: string, url: string, text: () => string, status: number) => async () => {
    const rate = await load(url, { connections: CONNECTIONS, ms: SLICE_MS, request: text, status })
    rates[name] ??= []
    rates[name].push(rate)
  }
  const run = {
    bareGet: measure("bareGet", bare.url, get, 200),
    get: measure("get", server.url, get, 200),
    barePost: measure("barePost", bare.url, post, 201),
    post: measure("post", server.url, post, 201),
  }
  // Until both are compiled: a server runs for weeks, not for these seconds.
  await interleaved(WARM_UP_ROUNDS, run)
  for (const name of Object.keys(rates)) rates[name] = []
  await interleaved(ROUNDS, run)
  const ratio = (name: string, of: string) => median(rates[name] ?? []) / median(rates[of] ?? [])
  const limited = database === "sqlite"
  return [
    {
      name: `${database}: GET an agent, requests a second beside bare`,
      median: ratio("get", "bareGet"),
      unit: "×",
      limit: limited ? 0.6 : null,
      atLeast: true,
    },
    { name: `${database}: GET an agent`, median: median(rates.get ?? []), unit: "a second", limit: null },
    {
      name: `${database}: POST a user, 50 at once, beside bare`,
      median: ratio("post", "barePost"),
      unit: "×",
      limit: limited ? 0.35 : null,
      atLeast: true,
    },
    { name: `${database}: POST a user, 50 at once`, median: median(rates.post ?? []), unit: "a second", limit: null },
  ]
}

async function lists(): Promise<Row[]> {
  await using few = await startServer({ trusting: true })
  await using many = await startServer({ trusting: true })
  await fill(few, FEW_USERS)
  await fill(many, MANY_USERS)
  const list = (server: TestServer) => () => server.call("GET", "/users?limit=50")
  const run = { few: list(few), many: list(many) }
  await interleaved(50, run)
  const times = await interleaved(400, run)
  return [
    {
      name: `p95 of listing 50 of ${MANY_USERS} users beside 50 of ${FEW_USERS}`,
      median: percentile(times.many, 0.95) / percentile(times.few, 0.95),
      unit: "×",
      limit: 1.3,
    },
  ]
}

async function fill(server: TestServer, count: number): Promise<void> {
  for (let i = 0; i < count; i += CONNECTIONS) {
    await Promise.all(
      Array.from({ length: CONNECTIONS }, (_, j) => server.call("POST", "/users", { user: `user-${i + j}` })),
    )
  }
}

async function bareServer(answers: Record<string, string>): Promise<AsyncDisposable & { url: string }> {
  const child = spawn(process.execPath, [fileURLToPath(new URL("bare.ts", import.meta.url))], {
    env: { ...process.env, BENCH_ANSWERS: JSON.stringify(answers) },
    stdio: ["ignore", "pipe", "inherit"],
  })
  const [port] = (await once(child.stdout, "data")) as [Buffer]
  return {
    url: `http://127.0.0.1:${port.toString().trim()}`,
    async [Symbol.asyncDispose]() {
      child.kill()
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit")
    },
  }
}
