import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DEFAULT_CONFIG } from "@autonomis/contract/agents.ts"
import type { ChatMessage } from "@autonomis/contract/chat.ts"
import type { Limits } from "@autonomis/contract/plans.ts"
import type { Database } from "../db/database.ts"
import type { AgentRef, UserRef } from "../http/endpoint.ts"
import { ids } from "../lib/ids.ts"
import { silentLogger } from "../lib/log.ts"
import type { RunHost, Runtime } from "../runtime/client.ts"
import { type Hands, HandsError } from "../runtime/hands.ts"
import type { RunOutcome, RunSpec } from "../runtime/protocol.ts"
import type { AssistantMessage, RunUsage } from "../runtime/transcript.ts"
import { NO_USAGE } from "../runtime/usage.ts"
import { createBudgets } from "../usage/usage.ts"
import { type Chat, createChat, type Submission } from "./chat.ts"
import type { ChatPorts, RunLogEntry } from "./ports.ts"

/** Helps tests of `chat/`: a runtime that does what a test's script says, and a user with an agent. */
export type Script = (spec: RunSpec, host: RunHost, signal: AbortSignal) => Promise<RunOutcome>

export interface ScriptedRuntime extends Runtime {
  specs: RunSpec[]
  script: Script
}

export const USAGE: RunUsage = { ...NO_USAGE, input_tokens: 10, output_tokens: 5, total_tokens: 15, cost_usd: 0.001 }

export function assistant(text: string, usage: RunUsage | null = USAGE): AssistantMessage {
  return {
    v: 1,
    role: "assistant",
    model: "demo/demo",
    content: [{ type: "text", text }],
    stop_reason: "end_turn",
    usage,
  }
}

export const succeeded = (text: string): RunOutcome => ({
  type: "succeeded",
  text,
  stopReason: "end_turn",
  usage: USAGE,
})

/** Says one thing, word by word. */
export function says(text: string): Script {
  return async (_spec, host) => {
    for (const word of text.split(/(?<= )/)) host.onEvent({ type: "message.delta", delta: word })
    host.onEvent({ type: "message", message: assistant(text) })
    return succeeded(text)
  }
}

/** Waits until the test lets it go, or it is cancelled. */
export function held(text = "done"): { script: Script; started: Promise<void>; release(): void } {
  const start = Promise.withResolvers<void>()
  const go = Promise.withResolvers<void>()
  return {
    started: start.promise,
    release: () => go.resolve(),
    async script(spec, host, signal) {
      start.resolve()
      const gone = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }))
      await Promise.race([go.promise, gone])
      if (signal.aborted) return { type: "cancelled", usage: NO_USAGE }
      return says(text)(spec, host, signal)
    },
  }
}

export function scriptedRuntime(script: Script): ScriptedRuntime {
  const runtime: ScriptedRuntime = {
    specs: [],
    script,
    start() {},
    run(spec, host) {
      runtime.specs.push(spec)
      const abort = new AbortController()
      const outcome = runtime.script(spec, host, abort.signal).catch(
        (error: unknown): RunOutcome => ({
          type: "failed",
          code: "internal",
          message: String(error),
          usage: NO_USAGE,
        }),
      )
      return { outcome, cancel: () => abort.abort() }
    },
    catalogue: async () => [],
    testModel: async () => ({ ok: true, usage: null }),
    async [Symbol.asyncDispose]() {},
  }
  return runtime
}

export const NO_LIMITS: Limits = {
  agents: null,
  tokens_per_month: null,
  usd_per_month: null,
  usd_per_day: null,
  storage_bytes: null,
  requests_per_minute: null,
  concurrent_runs: null,
  sandbox: { memory_bytes: 1, cpus: 1, pids: 1 },
}

export interface Bench extends AsyncDisposable {
  chat: Chat
  runtime: ScriptedRuntime
  user: UserRef
  agent: AgentRef
  logged: RunLogEntry[]
  ports: ChatPorts
  dataDir: string
  time: { now: number }
  say(text: string, more?: Partial<Submission>): Submission
  rows(): Promise<{ id: string; state: string }[]>
}

export interface BenchOptions {
  script?: Script
  limits?: Partial<Limits>
  ports?: Partial<ChatPorts>
  boot?: string
  server?: string
  /** A bench that was there before: the same user and agent. */
  like?: Bench
  platformUsdPerDay?: number
}

let hostUid = 0

export async function openBench(db: Database, options: BenchOptions = {}): Promise<Bench> {
  const limits = { ...NO_LIMITS, ...options.limits }
  const user = options.like?.user ?? (await addUser(db, limits))
  const agent = options.like?.agent ?? (await addAgent(db, user.id))
  const dataDir = options.like?.dataDir ?? mkdtempSync(join(tmpdir(), "autonomis-chat-"))
  const time = { now: Date.now() }
  const clock = { now: () => time.now }
  const runtime = scriptedRuntime(options.script ?? says("Hello there."))
  const logged: RunLogEntry[] = []
  const nowhere = () => Promise.reject(new HandsError("unavailable", "not in this test"))
  const hands: Hands = {
    exec: nowhere,
    readFile: nowhere,
    writeFile: nowhere,
    stat: nowhere,
    list: nowhere,
    mkdir: nowhere,
    remove: nowhere,
    rename: nowhere,
  }
  const ports: ChatPorts = {
    agent: async () => ({ name: "manager", description: null, config: DEFAULT_CONFIG, memory: "" }),
    templates: async () => ({ soul: "Be kind.", user: "", tools: "" }),
    skills: async () => [],
    calledSkill: async () => null,
    model: async (_user, _agent, wanted) => ({
      model: wanted ?? "demo/demo",
      credentials: { owner: "platform", apiKey: null, baseUrl: null, headers: {} },
    }),
    hands: () => hands,
    limits: async () => user.limits,
    ensureStorage: async () => {},
    handsUsed: async () => {},
    paused: () => false,
    log: (entry) => void logged.push(entry),
    ...options.ports,
  }
  const budgets = createBudgets({
    db,
    clock,
    limits: ports.limits,
    platformUsdPerDay: options.platformUsdPerDay ?? null,
  })
  const chat = createChat({
    db,
    clock,
    log: silentLogger,
    runtime,
    budgets,
    ports,
    dataDir,
    owner: { server: options.server ?? "server-1", boot: options.boot ?? ids.boot() },
  })
  return {
    chat,
    runtime,
    user,
    agent,
    logged,
    ports,
    dataDir,
    time,
    say: (text, more = {}) => ({
      user,
      agent,
      messages: [{ role: "user", content: text }] satisfies ChatMessage[],
      session: null,
      model: null,
      patience: null,
      ...more,
    }),
    rows: () => db.kysely.selectFrom("runs").select(["id", "state"]).orderBy("created_at").execute(),
    async [Symbol.asyncDispose]() {
      await chat[Symbol.asyncDispose]()
      if (options.like === undefined) rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

export async function addUser(db: Database, limits: Limits = NO_LIMITS): Promise<UserRef> {
  const id = ids.user()
  const name = `u${id.slice(-20)}`
  const row = { id, name, email: null, display_name: null, tier: "free", state: "active" as const, state_reason: null }
  await db.batch([{ query: db.kysely.insertInto("users").values({ ...row, limits: "{}", created_at: 1 }) }])
  return { id, name, tier: "free", state: "active", limits }
}

export async function addAgent(db: Database, userId: string, name = "manager"): Promise<AgentRef> {
  const id = ids.agent()
  const row = {
    id,
    user_id: userId,
    name,
    description: null,
    is_default: 1,
    config: "{}",
    host_uid: ++hostUid + 100_000,
  }
  const rest = { deploy: "[]", memory: "", prompt_version: 1, created_at: 1, last_active_at: null }
  await db.batch([{ query: db.kysely.insertInto("agents").values({ ...row, ...rest }) }])
  return { id, name }
}
