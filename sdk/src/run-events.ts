import type { ChatRequest, StreamEvent } from "@autonomis/contract/chat.ts"
import { wait } from "./client.ts"
import { ApiError } from "./errors.ts"
import { readEvents } from "./sse.ts"
import type { Client } from "./table.ts"

export interface AgentInput {
  user: string
  agent: string
}

export interface RunEventsOptions {
  signal?: AbortSignal
  sleep?: (ms: number, signal?: AbortSignal) => Promise<void>
  /** Told when the connection is lost and when it stands again. */
  onConnection?: (state: "open" | "lost") => void
  /** How many attempts in a row may fail before it gives up. */
  attempts?: number
}

/** An event of a run with its place in it. */
export type RunEvent = StreamEvent & { id: string | null }

/**
 * Sends a message and reads its events to the end. A lost connection is taken up again where it broke off: with
 * the run's own stream once its id is known, before that by sending again under the same idempotency key.
 */
export async function* streamChat(
  client: Client,
  agent: AgentInput,
  body: ChatRequest,
  options: RunEventsOptions = {},
): AsyncGenerator<RunEvent, void, void> {
  const key = randomKey()
  yield* readRun(client, agent, null, options, (call) =>
    client.chat.stream(agent, body, { ...call, idempotencyKey: key }),
  )
}

/** Reads a run's events from its beginning, or from after `lastEventId`, to its end. */
export async function* streamRun(
  client: Client,
  agent: AgentInput,
  runId: string,
  options: RunEventsOptions & { lastEventId?: string } = {},
): AsyncGenerator<RunEvent, void, void> {
  yield* readRun(client, agent, runId, options, null, options.lastEventId)
}

type Opener = (call: { signal?: AbortSignal }) => Promise<Response>

async function* readRun(
  client: Client,
  agent: AgentInput,
  runId: string | null,
  options: RunEventsOptions,
  open: Opener | null,
  lastEventId: string | null = null,
): AsyncGenerator<RunEvent, void, void> {
  const { signal, sleep = wait, onConnection, attempts = 40 } = options
  const call = signal ? { signal } : {}
  let last = lastEventId
  let failures = 0
  for (;;) {
    let failure: unknown = null
    try {
      const headers: Record<string, string> = last === null ? {} : { "Last-Event-ID": last }
      const response =
        runId === null && open !== null
          ? await open(call)
          : await client.runs.stream({ ...agent, run_id: runId ?? "" }, { ...call, headers })
      onConnection?.("open")
      for await (const event of readEvents(response)) {
        failures = 0
        if (event.id !== null) last = event.id
        const known = event as RunEvent
        if (known.event === "run.started") runId = known.data.run_id
        yield known
        if (known.event === "done" || known.event === "error") return
      }
    } catch (error) {
      if (signal?.aborted) throw error
      if (error instanceof ApiError && error.status < 500) throw error
      failure = error
    }
    failures++
    if (failures > attempts) throw failure ?? new Error("the stream ended before the run did")
    onConnection?.("lost")
    await sleep(Math.min(250 * 2 ** (failures - 1), 5000), signal)
  }
}

/** 128 random bits; `crypto.randomUUID` is missing in pages served over plain http. */
function randomKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("")
}
