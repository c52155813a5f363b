import { Worker } from "node:worker_threads"
import { messageOf } from "../lib/errors.ts"
import { compileCache } from "../lib/thread.ts"
import type { CatalogueModel, Credentials, FromWorker, ModelTest, ToWorker } from "./protocol.ts"
import { createRunHost, type RunEntry } from "./run-host.ts"
import type { RuntimeSettings } from "./settings.ts"

export type RuntimeLog = (level: "info" | "warn" | "error", message: string) => void

export interface WorkerHost {
  run(entry: RunEntry): void
  cancel(runId: string): void
  catalogue(): Promise<CatalogueModel[]>
  testModel(model: string, credentials: Credentials): Promise<ModelTest>
  stop(): Promise<void>
}

export interface WorkerOptions {
  name: string
  heapMb: number
  watchdogMs: number
  /** The thread's program. */
  entry: URL
  settings: RuntimeSettings
  /** The server's other threads go before this one. */
  stepsBack: boolean
  log: RuntimeLog
  /** Called once, with the reason, when the thread has ended by itself or was ended by the watchdog. */
  onDeath: (reason: string) => void
}

/**
 * Nothing of the server's environment reaches the thread where providers' clients run, and the files and services in
 * which Amazon's client looks for the machine's own credentials are closed to it.
 */
const WORKER_ENVIRONMENT = {
  AWS_CONFIG_FILE: "/dev/null",
  AWS_SHARED_CREDENTIALS_FILE: "/dev/null",
  AWS_EC2_METADATA_DISABLED: "true",
  NO_GCE_CHECK: "true",
}

export interface WorkerData {
  settings: RuntimeSettings
  stepsBack: boolean
}

/** A thread may take this long to come up on a machine that is very busy. */
const START_LIMIT_MS = 60_000

export function startWorker(options: WorkerOptions): WorkerHost {
  const worker = new Worker(options.entry, {
    name: options.name,
    env: { ...WORKER_ENVIRONMENT, ...compileCache() },
    workerData: { settings: options.settings, stepsBack: options.stepsBack } satisfies WorkerData,
    // The young generation is kept small: at its default it alone grows to 48 MB.
    resourceLimits: { maxOldGenerationSizeMb: options.heapMb, maxYoungGenerationSizeMb: 16 },
  })
  let dead = false
  let lastCallId = 0
  const answers = new Map<number, (message: FromWorker | null) => void>()
  const post = (message: ToWorker, given: ArrayBuffer[] = []) => {
    if (!dead) worker.postMessage(message, given)
  }
  const runs = createRunHost(post, options.log)

  // Only a ping that was sent long enough ago and whose answer is not even waiting to be read means a stuck thread:
  // the server itself may have slept.
  const startedAt = performance.now()
  let ready = false
  let pingedAt: number | null = null
  const watchdog = setInterval(
    () => {
      const now = performance.now()
      const overdue = ready
        ? pingedAt !== null && now - pingedAt >= options.watchdogMs
        : now - startedAt >= Math.max(START_LIMIT_MS, options.watchdogMs)
      if (overdue) {
        const was = pingedAt
        setImmediate(() => {
          if (pingedAt === was) die(`did not answer for ${options.watchdogMs} ms`)
        })
      } else if (ready && pingedAt === null) {
        pingedAt = now
        post({ type: "ping", callId: 0 })
      }
    },
    Math.min(1000, options.watchdogMs / 5),
  )
  watchdog.unref()

  const die = (reason: string) => {
    if (dead) return
    dead = true
    clearInterval(watchdog)
    void worker.terminate()
    runs.crash()
    for (const answer of answers.values()) answer(null)
    answers.clear()
    options.onDeath(reason)
  }
  worker.on("error", (error) => die(messageOf(error)))
  worker.on("exit", (code) => die(`exited with ${code}`))
  worker.on("message", (message: FromWorker) => {
    switch (message.type) {
      case "ready":
        ready = true
        return
      case "pong":
        pingedAt = null
        return
      case "log":
        options.log(message.level, message.message)
        return
      case "catalogue.answer":
      case "test-model.answer":
      case "call.failed":
        answers.get(message.callId)?.(message)
        answers.delete(message.callId)
        return
      default:
        runs.receive(message)
    }
  })

  const ask = (message: (callId: number) => ToWorker) =>
    new Promise<FromWorker>((resolve, reject) => {
      const callId = ++lastCallId
      const gone = () => reject(new Error("the runtime worker ended"))
      if (dead) return gone()
      answers.set(callId, (answer) => {
        if (answer === null) gone()
        else if (answer.type === "call.failed") reject(new Error("the runtime worker failed"))
        else resolve(answer)
      })
      post(message(callId))
    })

  return {
    run: (entry) => runs.start(entry),
    cancel: (runId) => runs.cancel(runId),
    async catalogue() {
      const answer = await ask((callId) => ({ type: "catalogue", callId }))
      return answer.type === "catalogue.answer" ? answer.models : []
    },
    async testModel(model, credentials) {
      const answer = await ask((callId) => ({ type: "test-model", callId, model, credentials }))
      return answer.type === "test-model.answer" ? answer.result : { ok: false, usage: null }
    },
    async stop() {
      dead = true
      clearInterval(watchdog)
      runs.crash()
      for (const answer of answers.values()) answer(null)
      await worker.terminate()
    },
  }
}
