import { connect, type Socket } from "node:net"
import { contract } from "@autonomis/contract/endpoints.ts"
import type { Limits } from "@autonomis/contract/plans.ts"
import { silentLogger } from "../lib/log.ts"
import type { AgentRef, Directory, Principal, Route, UserRef } from "./endpoint.ts"
import { healthRoutes } from "./health.ts"
import { buildServer, type ServerOptions } from "./server.ts"

/** A server on a port of its own over a few routes and a directory in memory, for tests of this layer alone. */
export interface TestServer extends AsyncDisposable {
  url: string
  port: number
  directory: TestDirectory
  call(method: string, path: string, options?: CallOptions): Promise<Called>
  /** Writes bytes as they are and reads until the server closes or `until` is seen. */
  raw(bytes: string | Buffer, until?: RegExp): Promise<string>
  socket(): Promise<Socket>
  /** Sends the head of a request whose body has so many bytes, such as `POST /api/v1/…`; its body comes by hand. */
  begin(request: string, key: string, sizeBytes: number): Promise<BegunRequest>
  /** Lets what was sent arrive: the server has read all that came before this. */
  arrive(): Promise<void>
}
export interface BegunRequest {
  socket: Socket
  /** So many blanks of the body. */
  send(bytes: number): Promise<void>
  /** What has come back so far. */
  answer(): string
}
export interface CallOptions {
  key?: string | undefined
  headers?: Record<string, string>
  body?: unknown
}
export interface Called {
  status: number
  headers: Headers
  text: string
  body: Record<string, unknown>
}

export const FREE: Limits = {
  agents: 3,
  tokens_per_month: 1_000_000,
  usd_per_month: null,
  usd_per_day: null,
  storage_bytes: 256 << 20,
  requests_per_minute: null,
  concurrent_runs: 2,
  sandbox: { memory_bytes: 1 << 30, cpus: 1, pids: 256 },
}

/** `ada` with the agents `manager` and `writer`, `bob` with `manager`; keys `admin`, `ada`, `bob`, `ada/manager` … */
export class TestDirectory implements Directory {
  readonly users = new Map<string, UserRef>()
  readonly agents = new Map<string, AgentRef>()
  readonly keys = new Map<string, Principal>()
  readonly dead = new Map<string, AbortController>()

  constructor() {
    this.addKey("admin", { kind: "admin" })
    for (const name of ["ada", "bob"]) {
      this.users.set(name, { id: `usr_${name}`, name, tier: "free", state: "active", limits: FREE })
      this.addKey(name, { kind: "user", userId: `usr_${name}`, limits: FREE })
      for (const agent of ["manager", "writer"]) {
        this.agents.set(`usr_${name}/${agent}`, { id: `agt_${name}_${agent}`, name: agent })
        this.addKey(`${name}/${agent}`, { kind: "agent", userId: `usr_${name}`, agentId: `agt_${name}_${agent}` })
      }
    }
  }
  addKey(key: string, principal: Partial<Principal>): void {
    const blank = { keyHash: key, userId: null, agentId: null, suspended: false, limits: null, impersonatedBy: null }
    this.keys.set(key, { kind: "user", ...blank, ...principal })
    this.dead.set(key, new AbortController())
  }
  async authenticate(key: string): Promise<Principal | null> {
    return this.keys.get(key) ?? null
  }
  async user(name: string): Promise<UserRef | null> {
    return this.users.get(name) ?? null
  }
  async agent(userId: string, name: string): Promise<AgentRef | null> {
    return this.agents.get(`${userId}/${name}`) ?? null
  }
  watch(principal: Principal): AbortSignal {
    return (this.dead.get(principal.keyHash) ?? new AbortController()).signal
  }
}

export async function startTestServer(
  routes: readonly Route[],
  options: Partial<ServerOptions> = {},
): Promise<TestServer> {
  const directory = new TestDirectory()
  const all = [...healthRoutes(async () => true), ...routes]
  const app = buildServer({ routes: all, directory, log: silentLogger, checkAnswers: true, ...options })
  await app.listen({ host: "127.0.0.1", port: 0 })
  const address = app.server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  const url = `http://127.0.0.1:${port}`
  const socket = () =>
    new Promise<Socket>((resolve, reject) => {
      const one = connect(port, "127.0.0.1", () => resolve(one))
      one.once("error", reject)
    })
  return {
    url,
    port,
    directory,
    socket,
    async begin(request, key, sizeBytes) {
      const one = await socket()
      let answer = ""
      one
        .on("error", () => {})
        .on("data", (chunk) => {
          answer += chunk
        })
      one.write(
        `${request} HTTP/1.1\r\nHost: x\r\nX-API-Key: ${key}\r\nContent-Type: application/json\r\n` +
          `Content-Length: ${sizeBytes}\r\n\r\n`,
      )
      const send = (bytes: number) =>
        new Promise<void>((resolve) => one.write(Buffer.alloc(bytes, 0x20), () => resolve()))
      return { socket: one, send, answer: () => answer }
    },
    async arrive() {
      for (let i = 0; i < 3; i++) await (await fetch(`${url}/health`)).text()
    },
    async call(method, path, { key, headers = {}, body } = {}) {
      const sent = new Headers(body === undefined ? {} : { "Content-Type": "application/json" })
      if (key !== undefined) sent.set("X-API-Key", key)
      for (const [name, value] of Object.entries(headers)) sent.set(name, value)
      const isBytes = typeof body === "string" || body instanceof Uint8Array
      const bytes = isBytes ? Buffer.from(body) : Buffer.from(JSON.stringify(body ?? null))
      const response = await fetch(`${url}${path}`, { method, headers: sent, body: body === undefined ? null : bytes })
      const text = await response.text()
      const isJson = response.headers.get("content-type")?.startsWith("application/json") && text !== ""
      return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : {} }
    },
    async raw(bytes, until) {
      const one = await socket()
      let got = ""
      one.on("error", () => {})
      one.write(bytes)
      for await (const chunk of one) {
        got += chunk
        if (until?.test(got)) break
      }
      one.destroy()
      return got
    },
    async [Symbol.asyncDispose]() {
      const closed = app.close()
      app.server.closeAllConnections()
      await closed
    },
  }
}

export { contract }
