import { type IncomingMessage, request } from "node:http"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { z } from "zod"

/** Docker's daemon by its HTTP API, from 20.10 on, over its unix socket. */
export interface Engine {
  readonly socket: string
  /** The answer's JSON, null when there is none. Errors: EngineError. */
  call(method: "GET" | "POST" | "DELETE", path: string, options?: CallOptions): Promise<unknown>
}

export interface CallOptions {
  query?: Record<string, string | string[]>
  /** JSON, or a stream of bytes (a tar). */
  body?: unknown
  signal?: AbortSignal
}

export class EngineError extends Error {
  override readonly name = "EngineError"
  /** The HTTP status, or why no daemon answered. */
  readonly reason: number | "unreachable" | "forbidden" | "too old"

  constructor(reason: EngineError["reason"], message: string) {
    super(message)
    this.reason = reason
  }
}

/** That of Docker 20.10; a newer daemon that takes it no more is asked by the oldest that it takes. */
const API: Version = [1, 41]

type Version = readonly [number, number]

const Versions = z.object({ ApiVersion: z.string(), MinAPIVersion: z.string() })
const Failure = z.object({ message: z.string() })

export function createEngine(socket: string): Engine {
  let version: Promise<string> | null = null

  async function negotiate(): Promise<string> {
    const { ApiVersion, MinAPIVersion } = Versions.parse(await send(socket, "GET", "/version", {}))
    if (isOlder(parseVersion(ApiVersion), API)) throw new EngineError("too old", `its API is ${ApiVersion}`)
    const oldest = parseVersion(MinAPIVersion)
    return (isOlder(API, oldest) ? oldest : API).join(".")
  }

  return {
    socket,
    async call(method, path, options = {}) {
      version ??= negotiate()
      try {
        return await send(socket, method, `/v${await version}${path}`, options)
      } catch (error) {
        // The next daemon to answer there may be another one.
        if (error instanceof EngineError && typeof error.reason === "string") version = null
        throw error
      }
    },
  }
}

function parseVersion(text: string): Version {
  const [major = 0, minor = 0] = text.split(".").map(Number)
  return [major, minor]
}

const isOlder = (a: Version, b: Version) => a[0] < b[0] || (a[0] === b[0] && a[1] < b[1])

async function send(socketPath: string, method: string, path: string, options: CallOptions): Promise<unknown> {
  const { query = {}, body, signal } = options
  const search = new URLSearchParams(Object.entries(query).flatMap(([name, v]) => [v].flat().map((one) => [name, one])))
  const type = body instanceof Readable ? "application/x-tar" : "application/json"
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = request(
      {
        ...{ socketPath, method, path: search.size > 0 ? `${path}?${search}` : path },
        headers: { Host: "docker", ...(body === undefined ? {} : { "Content-Type": type }) },
        agent: false,
        ...(signal === undefined ? {} : { signal }),
      },
      resolve,
    )
    sent.on("error", (error) => reject(signal?.aborted ? error : unreachable(error)))
    if (body instanceof Readable) pipeline(body, sent).catch(reject)
    else sent.end(body === undefined ? undefined : JSON.stringify(body))
  })
  const text = Buffer.concat(await answer.toArray()).toString()
  const status = answer.statusCode ?? 0
  if (status < 400) return text === "" ? null : JSON.parse(text.trimEnd().split("\n").at(-1) ?? "")
  throw new EngineError(status, messageIn(text))
}

function unreachable(error: Error): EngineError {
  const forbidden = "code" in error && (error.code === "EACCES" || error.code === "EPERM")
  return new EngineError(forbidden ? "forbidden" : "unreachable", error.message)
}

function messageIn(text: string): string {
  try {
    return Failure.parse(JSON.parse(text)).message
  } catch {
    return text.slice(0, 500)
  }
}

export const isGone = (error: unknown): boolean => error instanceof EngineError && error.reason === 404
/** No daemon is there to ask. */
export const isAway = (error: unknown): boolean => error instanceof EngineError && typeof error.reason === "string"
