import { type Hands, HandsError } from "./hands.ts"
import type {
  FromWorker,
  HandsCall,
  HandsValue,
  ReserveAnswer,
  ReserveRequest,
  RunEvent,
  ToWorker,
} from "./protocol.ts"
import type { RunUsage } from "./transcript.ts"

/** What one run may ask of the main thread. */
export interface RunPort {
  emit(event: RunEvent): void
  hands: Hands
  /** `callId` names the reservation in `settle`. */
  reserve(request: ReserveRequest): Promise<{ callId: number; answer: ReserveAnswer }>
  /** Null when the call never reached the provider. Once for each reservation that was granted. */
  settle(callId: number, usage: RunUsage | null): Promise<void>
}

interface PendingCall {
  onOutput: (chunk: string) => void
  resolve: (value: HandsValue) => void
  reject: (error: HandsError) => void
}

/** The worker's side of the border: questions go out with a number, answers find their way back by it. */
export function createBorder(post: (message: FromWorker) => void) {
  let lastCallId = 0
  const calls = new Map<number, PendingCall>()
  const reserves = new Map<number, (answer: ReserveAnswer) => void>()
  const settles = new Map<number, () => void>()

  function call(
    runId: string,
    request: HandsCall,
    signal: AbortSignal,
    onOutput: (chunk: string) => void = () => {},
  ): Promise<HandsValue> {
    if (signal.aborted) return Promise.reject(new HandsError("aborted", "the call was cancelled"))
    return new Promise((resolve, reject) => {
      const callId = ++lastCallId
      // The main thread's answer ends the call, also when it was cancelled: only it knows what has happened.
      const cancel = () => post({ type: "hands.cancel", callId })
      const done = () => {
        signal.removeEventListener("abort", cancel)
        calls.delete(callId)
      }
      calls.set(callId, {
        onOutput,
        resolve(value) {
          done()
          resolve(value)
        },
        reject(error) {
          done()
          reject(error)
        },
      })
      signal.addEventListener("abort", cancel, { once: true })
      post({ type: "hands.call", runId, callId, call: request })
    })
  }

  /** Narrows an answer to that of the method which was called. */
  async function ask<M extends HandsCall["method"]>(
    runId: string,
    request: Extract<HandsCall, { method: M }>,
    signal: AbortSignal,
    onOutput?: (chunk: string) => void,
  ): Promise<Extract<HandsValue, { method: M }>> {
    const value = await call(runId, request, signal, onOutput)
    if (!isAnswerTo(request.method, value)) throw new HandsError("unavailable", "the sandbox gave another answer")
    return value
  }

  return {
    portOf(runId: string): RunPort {
      const nothing = (request: HandsCall, signal: AbortSignal) => call(runId, request, signal).then(() => {})
      return {
        emit: (event) => post({ type: "event", runId, event }),
        hands: {
          exec: async (request, onOutput, signal) =>
            (await ask(runId, { method: "exec", request }, signal, onOutput)).result,
          readFile: async (path, range, signal) =>
            (await ask(runId, { method: "readFile", path, range }, signal)).result,
          stat: async (path, signal) => (await ask(runId, { method: "stat", path }, signal)).result,
          list: async (path, signal) => (await ask(runId, { method: "list", path }, signal)).result,
          writeFile: (path, data, signal) => nothing({ method: "writeFile", path, data }, signal),
          mkdir: (path, signal) => nothing({ method: "mkdir", path }, signal),
          remove: (path, recursive, signal) => nothing({ method: "remove", path, recursive }, signal),
          rename: (from, to, signal) => nothing({ method: "rename", from, to }, signal),
        },
        reserve: (request) =>
          new Promise((resolve) => {
            const callId = ++lastCallId
            reserves.set(callId, (answer) => resolve({ callId, answer }))
            post({ type: "reserve", runId, callId, request })
          }),
        settle: (reserveCallId, usage) =>
          new Promise((resolve) => {
            const callId = ++lastCallId
            settles.set(callId, resolve)
            post({ type: "settle", runId, callId, reserveCallId, usage })
          }),
      }
    },

    receive(message: ToWorker): void {
      switch (message.type) {
        case "hands.output":
          calls.get(message.callId)?.onOutput(message.chunk)
          return
        case "hands.result":
          calls.get(message.callId)?.resolve(message.value)
          return
        case "hands.error":
          calls.get(message.callId)?.reject(new HandsError(message.kind, message.message))
          return
        case "reserve.answer":
          reserves.get(message.callId)?.(message.answer)
          reserves.delete(message.callId)
          return
        case "settle.done":
          settles.get(message.callId)?.()
          settles.delete(message.callId)
          return
      }
    },
  }
}

function isAnswerTo<M extends HandsCall["method"]>(
  method: M,
  value: HandsValue,
): value is Extract<HandsValue, { method: M }> {
  return value.method === method
}
