import { Worker } from "node:worker_threads"
import { compileCache } from "../lib/thread.ts"
import type { Order, OrderAnswer, OrderedStep, Outcome, WriteFailure } from "./writer-thread.ts"

/** The thread that writes, as the main thread sees it. One order at a time: who calls sees to that. */
export interface Writer extends AsyncDisposable {
  /** One outcome for each job, all of them durable; rejects when nothing was kept, or nobody knows. */
  write(jobs: readonly WriteJob[]): Promise<Outcome[]>
}

export type WriteJob = readonly { sql: string; parameters: OrderedStep[1]; rows: number | null }[]

/** More than the program has; what is made with lists of other lengths comes and goes. */
const STATEMENTS_KEPT = 1000

const LONG_TEXT = 16_384

/** `entry`: another program for the thread; for tests of what happens when it dies. */
export function createWriter(file: string, entry = new URL("./writer-thread.ts", import.meta.url)): Writer {
  let thread: Worker | null = null
  let numbers = new Map<string, number>()
  let waiting: PromiseWithResolvers<Outcome[]> | null = null
  let isEnded = false

  function start(): Worker {
    const started = new Worker(entry, {
      name: "writer",
      env: compileCache(),
      workerData: file,
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    })
    started.unref()
    started.on("message", (answer: OrderAnswer) => {
      const asked = waiting
      waiting = null
      started.unref()
      if (Array.isArray(answer)) asked?.resolve(answer)
      else asked?.reject(errorOf(answer))
    })
    const gone = (cause?: unknown) => {
      if (thread !== started) return
      thread = null
      waiting?.reject(new Error("the thread that writes to the database ended", { cause }))
      waiting = null
    }
    started.on("error", gone)
    started.on("exit", () => gone())
    return started
  }

  thread = start()

  return {
    async write(jobs) {
      if (isEnded) throw new Error("the database is closed")
      const anew = thread === null || numbers.size > STATEMENTS_KEPT
      if (anew) numbers = new Map()
      thread ??= start()
      const statements: Order["statements"] = []
      const numberOf = (sql: string) => {
        let number = numbers.get(sql)
        if (number === undefined) {
          number = numbers.size
          numbers.set(sql, number)
          statements.push([number, sql])
        }
        return number
      }
      const order: Order = {
        jobs: jobs.map((steps) => steps.map(({ sql, parameters, rows }) => [numberOf(sql), parameters, rows])),
        statements,
        anew,
      }
      waiting = Promise.withResolvers()
      thread.ref()
      // Many short values pass as one text in a fifth of the time.
      thread.postMessage(isShort(jobs) ? JSON.stringify(order) : order)
      return await waiting.promise
    },
    async [Symbol.asyncDispose]() {
      isEnded = true
      const ended = thread
      thread = null
      if (ended === null) return
      const exit = new Promise((resolve) => ended.once("exit", resolve))
      ended.ref()
      ended.postMessage("end")
      await exit
    },
  }
}

function isShort(jobs: readonly WriteJob[]): boolean {
  return jobs.every((steps) => steps.every(({ parameters }) => parameters.every(isShortValue)))
}

function isShortValue(value: OrderedStep[1][number]): boolean {
  if (typeof value === "string") return value.length < LONG_TEXT
  return value === null || Number.isFinite(value)
}

/** As node:sqlite's own errors look, to those who ask why. */
export function errorOf({ message, errcode }: WriteFailure): Error {
  return Object.assign(new Error(message), errcode === null ? {} : { code: "ERR_SQLITE_ERROR", errcode })
}
