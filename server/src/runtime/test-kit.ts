import type { RunHost } from "./client.ts"
import { type ExecRequest, type ExecResult, type Hands, HandsError } from "./hands.ts"
import type { ReserveAnswer, ReserveRequest, RunEvent, RunSpec } from "./protocol.ts"
import type { RunUsage, TranscriptMessage } from "./transcript.ts"

/** Helps tests of the runtime: a run's order, and a host whose hands are a map of files. */
export const TOOLS = ["bash", "read", "write", "edit"]

export function userMessage(text: string): TranscriptMessage {
  return { v: 1, role: "user", content: [{ type: "text", text }] }
}

export function runSpec(text: string, changes: Partial<RunSpec> = {}): RunSpec {
  return {
    runId: `run_${Math.random().toString(36).slice(2)}`,
    userId: "usr_1",
    agentId: "agt_1",
    cacheKey: "cache-key-1",
    model: "demo/demo",
    credentials: { owner: "platform", apiKey: null, baseUrl: null, headers: {} },
    prompt: {
      agentName: "ada",
      agentDescription: null,
      soul: "You are careful.",
      user: "",
      tools: "",
      memory: "",
      skills: [],
      instruction: null,
    },
    context: "",
    history: [{ seq: 1, message: userMessage(text) }],
    tools: TOOLS,
    thinking: "off",
    maxTurns: 50,
    maxOutputTokens: 8192,
    stop: [],
    lastInputTokens: null,
    ...changes,
  }
}

export interface TestHost extends RunHost {
  events: RunEvent[]
  files: Map<string, Uint8Array>
  commands: string[]
  reserved: Map<number, ReserveRequest>
  settled: Map<number, RunUsage | null>
  /** All text that was streamed. */
  streamed(): string
  messages(): TranscriptMessage[]
}

export interface TestHostOptions {
  exec?: (request: ExecRequest, onOutput: (chunk: string) => void, signal: AbortSignal) => Promise<ExecResult>
  reserve?: (callId: number, request: ReserveRequest, signal: AbortSignal) => Promise<ReserveAnswer>
  onEvent?: (event: RunEvent) => void
}

export function testHost(options: TestHostOptions = {}): TestHost {
  const events: RunEvent[] = []
  const files = new Map<string, Uint8Array>()
  const commands: string[] = []
  const reserved = new Map<number, ReserveRequest>()
  const settled = new Map<number, RunUsage | null>()
  const path = (name: string) => (name.startsWith("/") ? name : `/work/${name}`)
  const unused = () => Promise.reject(new HandsError("unavailable", "not in this test"))
  const hands: Hands = {
    async exec(request, onOutput, signal) {
      commands.push(request.command)
      if (options.exec) return options.exec(request, onOutput, signal)
      onOutput("out\n")
      return { exitCode: 0, killed: null, output: "out\n", fullOutputPath: null, durationMs: 1 }
    },
    async readFile(name, range) {
      const data = files.get(path(name))
      if (data === undefined) throw new HandsError("not_found", `${name} is not there`)
      const part = range === null ? data : data.subarray(range.offset, range.offset + range.length)
      return { data: part, sizeBytes: data.byteLength }
    },
    async writeFile(name, data) {
      files.set(path(name), data)
    },
    stat: unused,
    list: unused,
    mkdir: unused,
    remove: unused,
    rename: unused,
  }
  return {
    events,
    files,
    commands,
    reserved,
    settled,
    hands,
    onEvent(event) {
      events.push(event)
      options.onEvent?.(event)
    },
    async reserve(callId, request, signal) {
      reserved.set(callId, request)
      return options.reserve ? options.reserve(callId, request, signal) : { ok: true, maxTokens: request.maxTokens }
    },
    async settle(callId, usage) {
      settled.set(callId, usage)
    },
    streamed: () => events.map((event) => (event.type === "message.delta" ? event.delta : "")).join(""),
    messages: () => events.flatMap((event) => (event.type === "message" ? [event.message] : [])),
  }
}

/** Waits for a condition, with a deadline. */
export async function until(condition: () => boolean, what: string, ms = 10_000): Promise<void> {
  const deadline = performance.now() + ms
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
