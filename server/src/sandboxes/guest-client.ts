import type { Duplex } from "node:stream"
import { createDataReceiver, createDataSender, type DataReceiver, type DataSender } from "@autonomis/guest/flow.ts"
import { encodeJson, ProtocolError } from "@autonomis/guest/frames.ts"
import { type Call, type ExecCall, Frame, type FrameType, PROTOCOL_VERSION } from "@autonomis/guest/protocol.ts"
import type { z } from "zod"
import { createGathered } from "../lib/gather.ts"
import { HandsError } from "../runtime/hands.ts"
import type { GuestStream } from "./driver.ts"
import { acceptTunnels } from "./egress/tunnels.ts"
import * as answers from "./guest-answers.ts"
import { openGuestLink } from "./guest-link.ts"

const HELLO_MS = 30_000
/** A cancelled call is answered by then, or the guest is given up. */
const CANCEL_MS = 5_000
/** After a command's own time limit, so long may its end take. */
const LATE_MS = 10_000
const FILE_CALL_MS = 60_000
const PING_EVERY_MS = 20_000
const MAX_LIST_BYTES = 4 * 1024 * 1024
/** The most that one call reads at once. */
export const MAX_READ_BYTES = 32 * 1024 * 1024

export interface ExecStream {
  onOutput(chunk: Buffer): void
  stdin: Uint8Array | null
}

/** One guest's calls, many at once. Every failure is a HandsError in words; `ended` tells why there is no guest any more. */
export interface GuestClient {
  readonly ended: Promise<string>
  exec(call: Omit<ExecCall, "op" | "stdin">, stream: ExecStream, signal: AbortSignal): Promise<answers.ExecAnswer>
  read(path: string, offset: number, length: number, signal: AbortSignal): Promise<{ data: Buffer; sizeBytes: number }>
  write(path: string, data: Uint8Array, signal: AbortSignal): Promise<void>
  stat(path: string, signal: AbortSignal): Promise<answers.StatAnswer>
  list(path: string, signal: AbortSignal): Promise<answers.ListAnswer>
  /** `mkdir`, `remove`, `rename`: nothing comes back. */
  change(call: Call & { op: "mkdir" | "remove" | "rename" }, signal: AbortSignal): Promise<void>
  close(): void
}

interface Pending {
  receiver: DataReceiver
  sender: DataSender
  onData: ((chunk: Buffer) => void) | null
  settle(result: unknown, failure: HandsError | null): void
}

interface Conversation {
  body?: Uint8Array | null
  onData?: (chunk: Buffer) => void
  limitMs: number
}

/**
 * Speaks with the guest on this stream once it has said hello. `onTunnel` takes connections to the proxy; without it the
 * guest may not open any. Errors: HandsError `unavailable`.
 */
export async function connectGuest(guest: GuestStream, onTunnel?: (stream: Duplex) => void): Promise<GuestClient> {
  const pending = new Map<number, Pending>()
  let nextChannel = 1
  let heard = true
  let over: HandsError | null = null
  let greet: (hello: unknown) => void
  const hello = new Promise<unknown>((resolve) => {
    greet = resolve
  })
  const { promise: ended, resolve: endedWith } = Promise.withResolvers<string>()

  const link = openGuestLink(guest.stream, {
    onFrame(type, id, payload) {
      heard = true
      if (type === Frame.HELLO) return greet(parseJson(payload))
      if (type === Frame.PONG) return
      if (tunnels?.onFrame(type, id, payload)) return
      const call = pending.get(id)
      if (call !== undefined) return answer(call, type, payload)
      // What the guest granted just before its answer; anything else is for no call of ours.
      if (type !== Frame.WINDOW || id >= nextChannel || id % 2 === 0)
        throw new ProtocolError(`a frame for no call (type ${type})`)
    },
    onClose(violation) {
      clearInterval(pinger)
      tunnels?.close()
      void reasonOf(guest.ended, violation).then((reason) => {
        over = new HandsError("unavailable", `the sandbox ended: ${reason}`)
        for (const call of [...pending.values()]) call.settle(null, over)
        endedWith(reason)
      })
    },
  })

  const tunnels = onTunnel === undefined ? null : acceptTunnels(link, onTunnel)

  function answer(call: Pending, type: FrameType, payload: Buffer): void {
    if (type === Frame.DATA) {
      call.receiver.received(payload.length)
      if (call.onData === null) return
      call.onData(payload)
      call.receiver.consumed(payload.length)
    } else if (type === Frame.WINDOW && payload.length === 4) call.sender.grant(payload.readUInt32BE(0))
    else if (type === Frame.RESULT) call.settle(parseJson(payload), null)
    else if (type === Frame.FAIL) call.settle(null, failureFrom(parseJson(payload)))
    else throw new ProtocolError(`an unexpected frame of type ${type}`)
  }

  /** A guest that is stopped or stuck does not answer a ping; what waits for it must not wait for ever. */
  const pinger = setInterval(() => {
    if (pending.size === 0) return
    if (!heard) return link.close()
    heard = false
    link.send(Frame.PING, 0)
  }, PING_EVERY_MS).unref()

  async function call<T extends z.ZodType>(
    request: Call,
    schema: T,
    conversation: Conversation,
    signal: AbortSignal,
  ): Promise<z.output<T>> {
    if (signal.aborted) throw aborted()
    if (over !== null) throw over
    const id = nextChannel
    nextChannel += 2
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const sender = createDataSender(link, id)
    const giveUp = (error: HandsError) => {
      entry.onData = null
      sender.close()
      link.send(Frame.CANCEL, id)
      clearTimeout(timer)
      timer = setTimeout(() => link.close(), CANCEL_MS).unref()
      reject(error)
    }
    const onAbort = () => giveUp(aborted())
    const entry: Pending = {
      receiver: createDataReceiver(link, id),
      sender,
      onData: conversation.onData ?? (() => {}),
      settle(result, failure) {
        pending.delete(id)
        sender.close()
        clearTimeout(timer)
        if (failure === null) resolve(result)
        else reject(failure)
      },
    }
    let timer = setTimeout(
      () => giveUp(new HandsError("timeout", "the sandbox did not answer in time")),
      conversation.limitMs,
    )
    pending.set(id, entry)
    signal.addEventListener("abort", onAbort, { once: true })
    try {
      link.send(Frame.CALL, id, encodeJson(request))
      if (conversation.body !== undefined && conversation.body !== null) {
        void sender.send(conversation.body)
        void sender.end()
      }
      const parsed = schema.safeParse(await promise)
      if (parsed.success) return parsed.data
      link.close()
      throw new HandsError("unavailable", "the sandbox gave an answer that cannot be read")
    } finally {
      signal.removeEventListener("abort", onAbort)
    }
  }

  const file = { limitMs: FILE_CALL_MS }
  const client: GuestClient = {
    ended,
    exec: (request, stream, signal) =>
      call(
        { op: "exec", stdin: stream.stdin !== null, ...request },
        answers.ExecAnswer,
        { body: stream.stdin, onData: stream.onOutput, limitMs: request.timeoutMs + LATE_MS },
        signal,
      ),
    async read(path, offset, length, signal) {
      const { collect, whole } = collector(Math.min(length, MAX_READ_BYTES))
      const request = { op: "read", path, offset, length: Math.min(length, MAX_READ_BYTES) } as const
      const { sizeBytes } = await call(request, answers.ReadAnswer, { ...file, onData: collect }, signal)
      return { data: whole(), sizeBytes }
    },
    async write(path, data, signal) {
      await call({ op: "write", path }, answers.DoneAnswer, { ...file, body: data }, signal)
    },
    stat: (path, signal) => call({ op: "stat", path }, answers.StatAnswer, file, signal),
    async list(path, signal) {
      const { collect, whole } = collector(MAX_LIST_BYTES)
      await call({ op: "list", path }, answers.DoneAnswer, { ...file, onData: collect }, signal)
      return answers.parseList(whole())
    },
    async change(request, signal) {
      await call(request, answers.DoneAnswer, file, signal)
    },
    close: link.close,
  }

  const late = setTimeout(() => greet(null), HELLO_MS)
  const first = await Promise.race([
    hello,
    ended.then((reason) => new HandsError("unavailable", `the sandbox did not start: ${reason}`)),
  ])
  clearTimeout(late)
  if (first instanceof HandsError) throw first
  if (answers.HelloAnswer.safeParse(first).data?.protocol === PROTOCOL_VERSION) return client
  link.close()
  throw new HandsError(
    "unavailable",
    first === null ? "the sandbox did not start in time" : "the sandbox speaks another protocol version",
  )
}

const aborted = () => new HandsError("aborted", "aborted")

/** What is read or listed, in memory and bounded; a guest that sends more than was asked for lies. */
function collector(maxBytes: number) {
  const gathered = createGathered()
  return {
    collect(chunk: Buffer) {
      if (gathered.size + chunk.length > maxBytes) throw new ProtocolError("more data than was asked for")
      gathered.add(chunk)
    },
    // In memory of its own, not in what came over the wire.
    whole: () => Buffer.concat([gathered.whole()]),
  }
}

async function reasonOf(ended: Promise<string>, violation: string | null): Promise<string> {
  if (violation !== null) return `it broke the protocol (${violation})`
  const late = AbortSignal.timeout(2_000)
  return Promise.race([
    ended,
    new Promise<string>((resolve) => late.addEventListener("abort", () => resolve("its connection closed"))),
  ])
}

function parseJson(payload: Buffer): unknown {
  return JSON.parse(payload.toString())
}

function failureFrom(value: unknown): HandsError {
  const parsed = answers.FailureAnswer.safeParse(value)
  if (!parsed.success) throw new ProtocolError("a failure that cannot be read")
  return new HandsError(parsed.data.kind, parsed.data.message)
}
