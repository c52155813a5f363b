import type { Duplex } from "node:stream"
import { type ExecSettings, type RunningCommand, startCommand } from "./exec.ts"
import { CallError, failureOf } from "./failure.ts"
import * as files from "./files.ts"
import { createDataReceiver, createDataSender, type DataReceiver, type DataSender } from "./flow.ts"
import { createFrameReader, createFrameWriter, encodeJson, ProtocolError } from "./frames.ts"
import { preparePipes } from "./pipes.ts"
import { killMarked } from "./processes.ts"
import { type Call, Frame, type FrameType, type Hello, MAX_SERVER_PAYLOAD, PROTOCOL_VERSION } from "./protocol.ts"
import { openTunnels } from "./tunnels.ts"

export interface GuestSettings {
  /** `/work` inside a sandbox. */
  workDir: string
  /** The environment of every command. */
  baseEnv: Record<string, string>
  /** `NAME=value` in `baseEnv`: at the end every process that has it is killed. Null where a process namespace does that. */
  marker: string | null
  /** Programs inside may reach the server's proxy. */
  proxy?: boolean
}

interface Channel {
  sender: DataSender
  receiver: DataReceiver
  onData(data: Buffer): Promise<void>
  onEnd(): void
  cancel(): void
}

/** Serves one server over one stream until that ends; resolves when everything of the sandbox is killed. */
export function serveGuest(stream: Duplex, settings: GuestSettings): Promise<void> {
  const writer = createFrameWriter(stream)
  const channels = new Map<number, Channel>()
  const pipes = preparePipes()
  const tunnels = settings.proxy === true ? openTunnels(writer) : null
  const read = createFrameReader(MAX_SERVER_PAYLOAD, (type, id, payload) => {
    if (type === Frame.CALL) return accept(id, payload)
    if (type === Frame.PING) return writer.send(Frame.PONG, 0)
    if (id > 0 && id % 2 === 0) return tunnels?.onFrame(type, id, payload)
    // A frame for a channel that has ended was under way when it did.
    const channel = channels.get(id)
    if (channel !== undefined) deliver(channel, type, payload)
  })

  function accept(id: number, payload: Buffer): void {
    const call: Call = JSON.parse(payload.toString())
    const channel = { sender: createDataSender(writer, id), receiver: createDataReceiver(writer, id), ...idle() }
    channels.set(id, channel)
    void answer(call, channel, { ...settings, pipes })
      .then(
        (result) => writer.send(Frame.RESULT, id, encodeJson(result)),
        (error) => writer.send(Frame.FAIL, id, encodeJson(failureOf(error, subjectOf(call)))),
      )
      .finally(() => {
        channel.sender.close()
        channels.delete(id)
      })
  }

  void pipes.ready.then(() =>
    writer.send(Frame.HELLO, 0, encodeJson({ protocol: PROTOCOL_VERSION, pid: process.pid } satisfies Hello)),
  )
  return new Promise((resolve) => {
    stream.on("data", (chunk: Buffer) => {
      try {
        read(chunk)
      } catch {
        stream.destroy()
      }
    })
    stream.on("error", () => {})
    stream.once("end", () => stream.destroy())
    stream.once("close", () => {
      tunnels?.close()
      pipes.close()
      for (const channel of channels.values()) channel.cancel()
      if (settings.marker !== null) killMarked(settings.marker)
      resolve()
    })
  })
}

function deliver(channel: Channel, type: FrameType, payload: Buffer): void {
  if (type === Frame.DATA) {
    channel.receiver.received(payload.length)
    void channel.onData(payload).then(() => channel.receiver.consumed(payload.length))
  } else if (type === Frame.END) channel.onEnd()
  else if (type === Frame.CANCEL) channel.cancel()
  else if (type === Frame.WINDOW && payload.length === 4) channel.sender.grant(payload.readUInt32BE(0))
  else throw new ProtocolError(`an unexpected frame of type ${type}`)
}

const idle = () => ({ onData: async () => {}, onEnd: () => {}, cancel: () => {} })

const subjectOf = (call: Call) => (call.op === "exec" ? "bash" : call.op === "rename" ? call.from : call.path)

async function answer(call: Call, channel: Channel, settings: ExecSettings): Promise<unknown> {
  const at = (path: string) => files.resolvePath(path, settings.workDir)
  switch (call.op) {
    case "exec":
      return exec(
        startCommand(call, settings, (data) => channel.sender.send(data)),
        channel,
      )
    case "read":
      return readFile(at(call.path), call, channel)
    case "write":
      return writeFile(at(call.path), channel)
    case "stat":
      return files.statPath(at(call.path))
    case "list":
      return list(at(call.path), channel)
    case "mkdir":
      return files.makeFolder(at(call.path)).then(done)
    case "remove":
      return files.removePath(at(call.path), call.recursive).then(done)
    case "rename":
      return files.renamePath(at(call.from), at(call.to)).then(done)
  }
}

const done = () => ({})

function exec(command: RunningCommand, channel: Channel): Promise<unknown> {
  channel.onData = command.input
  channel.onEnd = command.endInput
  channel.cancel = () => {
    // Whoever cancelled reads no more output.
    channel.sender.close()
    command.kill()
  }
  return command.outcome
}

async function readFile(path: string, range: { offset: number; length: number }, channel: Channel): Promise<unknown> {
  channel.cancel = () => channel.sender.close()
  return files.readRange(path, range.offset, range.length, (data) => channel.sender.send(data))
}

async function list(path: string, channel: Channel): Promise<unknown> {
  channel.cancel = () => channel.sender.close()
  const entries = await files.listFolder(path)
  await channel.sender.send(encodeJson(entries))
  return { entries: entries.length }
}

/** The body comes as DATA; END commits, CANCEL leaves nothing behind. */
function writeFile(path: string, channel: Channel): Promise<unknown> {
  return new Promise((resolve, reject) => {
    let ended = false
    const opening = files.openWriter(path)
    let last: Promise<unknown> = opening
    const finish = (how: "commit" | "abandon") => {
      if (ended) return
      ended = true
      last
        .then(
          async () => (await opening)[how](),
          async (error) => {
            await opening.then((file) => file.abandon()).catch(() => {})
            throw error
          },
        )
        .then(how === "commit" ? () => resolve({}) : () => reject(new CallError("aborted", "aborted")), reject)
    }
    channel.onData = (data) => {
      const write = last.then(async () => (await opening).write(data))
      last = write
      // The failure is told at the end; until then what comes is taken and dropped.
      return write.catch(() => {})
    }
    channel.onEnd = () => finish("commit")
    channel.cancel = () => finish("abandon")
    opening.catch(() => {})
  })
}
