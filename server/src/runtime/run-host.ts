import { AppError, messageOf } from "../lib/errors.ts"
import type { RunHost } from "./client.ts"
import { type Hands, HandsError } from "./hands.ts"
import { createJoiner } from "./joiner.ts"
import type {
  FromWorker,
  HandsCall,
  HandsValue,
  ReserveAnswer,
  ReserveRequest,
  RunOutcome,
  RunSpec,
  ToWorker,
} from "./protocol.ts"
import type { RunUsage } from "./transcript.ts"
import { addUsage, NO_USAGE, usageIfLost } from "./usage.ts"
import type { RuntimeLog } from "./worker-host.ts"

export interface RunEntry {
  spec: RunSpec
  host: RunHost
  /** Called exactly once. */
  finish: (outcome: RunOutcome) => void
}

interface LiveRun extends RunEntry {
  calls: Map<number, AbortController>
  reserved: Map<number, ReserveRequest>
  usage: RunUsage
}

/** Live output of one command that is passed on; the result has its head and tail in any case. */
const MAX_LIVE_OUTPUT = 1024 * 1024

/** The main thread's side of all runs of one worker: what they ask for is looked up here, by the run they belong to. */
export function createRunHost(post: (message: ToWorker, given?: ArrayBuffer[]) => void, log: RuntimeLog) {
  const runs = new Map<string, LiveRun>()

  async function hands(run: LiveRun, callId: number, call: HandsCall) {
    const abort = new AbortController()
    run.calls.set(callId, abort)
    const output = createJoiner((chunk) => post({ type: "hands.output", callId, chunk }))
    let shown = 0
    const onOutput = (chunk: string) => {
      if (shown < MAX_LIVE_OUTPUT) output.push(chunk.slice(0, MAX_LIVE_OUTPUT - shown))
      shown += chunk.length
    }
    try {
      const value = await perform(run.host.hands, call, onOutput, abort.signal)
      output.flush()
      post({ type: "hands.result", callId, value })
    } catch (error) {
      output.flush()
      const known = handsFailure(error, abort.signal)
      if (known === null) log("error", `run ${run.spec.runId}: ${call.method} failed: ${messageOf(error)}`)
      post({ type: "hands.error", callId, ...(known ?? { kind: "unavailable", message: "the sandbox failed" }) })
    } finally {
      run.calls.delete(callId)
    }
  }

  async function reserve(run: LiveRun, callId: number, request: ReserveRequest) {
    const abort = new AbortController()
    run.calls.set(callId, abort)
    let answer: ReserveAnswer
    try {
      answer = await run.host.reserve(callId, request, abort.signal)
    } catch (error) {
      log("error", `run ${run.spec.runId}: reserving failed: ${messageOf(error)}`)
      answer = { ok: false, code: "internal", message: "internal server error" }
    }
    run.calls.delete(callId)
    if (answer.ok && runs.get(run.spec.runId) !== run) return settle(run, callId, null)
    if (answer.ok) run.reserved.set(callId, request)
    post({ type: "reserve.answer", callId, answer })
  }

  async function settle(run: LiveRun, reserveCallId: number, usage: RunUsage | null) {
    run.reserved.delete(reserveCallId)
    if (usage !== null) run.usage = addUsage(run.usage, usage)
    try {
      await run.host.settle(reserveCallId, usage)
    } catch (error) {
      log("error", `run ${run.spec.runId}: settling failed: ${messageOf(error)}`)
    }
  }

  function abortCalls(run: LiveRun) {
    for (const abort of run.calls.values()) abort.abort()
  }

  return {
    start(entry: RunEntry) {
      runs.set(entry.spec.runId, { ...entry, calls: new Map(), reserved: new Map(), usage: NO_USAGE })
      // A picture is given away, not copied: nobody needs it here any more.
      post({ type: "run", spec: entry.spec }, picturesOf(entry.spec))
    },

    /** The hands are stopped from here, so that a worker that is busy cannot delay it. */
    cancel(runId: string) {
      const run = runs.get(runId)
      if (run === undefined) return
      post({ type: "cancel", runId })
      abortCalls(run)
    },

    /** The thread is gone: what was under way is settled by estimate and ends. */
    crash() {
      for (const run of runs.values()) {
        abortCalls(run)
        runs.delete(run.spec.runId)
        const settled = [...run.reserved].map(([callId, request]) => settle(run, callId, usageIfLost(request)))
        void Promise.all(settled).then(() =>
          run.finish({
            type: "failed",
            code: "crashed",
            message: "the run was stopped because its worker ended",
            usage: run.usage,
          }),
        )
      }
    },

    receive(message: FromWorker) {
      if (message.type === "hands.cancel") {
        for (const run of runs.values()) run.calls.get(message.callId)?.abort()
        return
      }
      if (!("runId" in message)) return
      const run = runs.get(message.runId)
      if (run === undefined) return
      switch (message.type) {
        case "event":
          try {
            run.host.onEvent(message.event)
          } catch (error) {
            log("error", `run ${message.runId}: an event was not taken: ${messageOf(error)}`)
          }
          return
        case "hands.call":
          void hands(run, message.callId, message.call)
          return
        case "reserve":
          void reserve(run, message.callId, message.request)
          return
        case "settle":
          void settle(run, message.reserveCallId, message.usage).then(() =>
            post({ type: "settle.done", callId: message.callId }),
          )
          return
        case "finished":
          runs.delete(message.runId)
          abortCalls(run)
          run.finish(message.outcome)
      }
    },
  }
}

function picturesOf({ history }: RunSpec): ArrayBuffer[] {
  const found = new Set<ArrayBuffer>()
  for (const { message } of history) {
    if (message.role !== "user" && message.role !== "tool") continue
    for (const part of message.content)
      if (part.type === "image" && part.bytes !== undefined) found.add(part.bytes.buffer)
  }
  return [...found]
}

async function perform(
  hands: Hands,
  call: HandsCall,
  onOutput: (chunk: string) => void,
  signal: AbortSignal,
): Promise<HandsValue> {
  switch (call.method) {
    case "exec":
      return { method: "exec", result: await hands.exec(call.request, onOutput, signal) }
    case "readFile":
      return { method: "readFile", result: await hands.readFile(call.path, call.range, signal) }
    case "stat":
      return { method: "stat", result: await hands.stat(call.path, signal) }
    case "list":
      return { method: "list", result: await hands.list(call.path, signal) }
    case "writeFile":
      await hands.writeFile(call.path, call.data, signal)
      return { method: "writeFile", result: null }
    case "mkdir":
      await hands.mkdir(call.path, signal)
      return { method: "mkdir", result: null }
    case "remove":
      await hands.remove(call.path, call.recursive, signal)
      return { method: "remove", result: null }
    case "rename":
      await hands.rename(call.from, call.to, signal)
      return { method: "rename", result: null }
  }
}

/** What the model may be told of a failure; null for one that only the log may see. */
function handsFailure(error: unknown, signal: AbortSignal) {
  if (error instanceof HandsError) return { kind: error.kind, message: error.message }
  if (signal.aborted) return { kind: "aborted" as const, message: "the call was cancelled" }
  if (error instanceof AppError && error.status < 500) return { kind: "unavailable" as const, message: error.message }
  return null
}
