import { Worker } from "node:worker_threads"
import { AppError } from "../lib/errors.ts"
import { compileCache } from "../lib/thread.ts"
import type { BodyRead, ReadBody } from "./body-thread.ts"

/** Reads large bodies on a thread, which is there only while there are any. */
export interface BodyReader extends AsyncDisposable {
  /** The first `size` of these bytes, which are given away. */
  read(bytes: ArrayBuffer, size: number, digest: boolean): Promise<BodyRead>
}

/** Twice what the largest body may become: text of two bytes a letter, parsed and on its way. */
const HEAP_MB = 256
/** It holds memory for bodies that it has read. */
const IDLE_MS = 30_000

export interface BodyReaderOptions {
  idleMs?: number
  /** Another program for the thread; for tests of what happens when it dies. */
  entry?: URL
}

export function createBodyReader(options: BodyReaderOptions = {}): BodyReader {
  const entry = options.entry ?? new URL("./body-thread.ts", import.meta.url)
  let thread: Worker | null = null
  let idle: NodeJS.Timeout | undefined
  let lastId = 0
  const waiting = new Map<number, { resolve(read: BodyRead): void; reject(error: Error): void }>()

  function start(): Worker {
    const started = new Worker(entry, {
      name: "bodies",
      env: compileCache(),
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB, maxYoungGenerationSizeMb: 16 },
    })
    started.unref()
    started.on("message", (read: BodyRead) => {
      waiting.get(read.id)?.resolve(read)
      waiting.delete(read.id)
      if (waiting.size === 0) idle = setTimeout(() => void end(), options.idleMs ?? IDLE_MS).unref()
    })
    const gone = (cause?: unknown) => {
      if (thread !== started) return
      thread = null
      // What it was reading may be what ended it.
      for (const { reject } of waiting.values())
        reject(new AppError("internal", "internal server error", { cause: cause ?? new Error("the thread ended") }))
      waiting.clear()
    }
    started.on("error", gone)
    started.on("exit", () => gone())
    return started
  }

  async function end(): Promise<void> {
    clearTimeout(idle)
    const ended = thread
    thread = null
    await ended?.terminate()
  }

  return {
    read(bytes, size, digest) {
      clearTimeout(idle)
      thread ??= start()
      const id = ++lastId
      const { promise, resolve, reject } = Promise.withResolvers<BodyRead>()
      waiting.set(id, { resolve, reject })
      thread.postMessage({ id, bytes, size, digest } satisfies ReadBody, [bytes])
      return promise
    },
    [Symbol.asyncDispose]: end,
  }
}
