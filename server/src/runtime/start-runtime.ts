import { createHash } from "node:crypto"
import { availableParallelism } from "node:os"
import { createByteGate } from "../lib/byte-gate.ts"
import type { RunHandle, Runtime } from "./client.ts"
import type { CatalogueModel, RunOutcome } from "./protocol.ts"
import { DEFAULT_SETTINGS, MIB, type RuntimeSettings } from "./settings.ts"
import { NO_USAGE } from "./usage.ts"
import { weigh } from "./weigh.ts"
import { type RuntimeLog, startWorker, type WorkerHost } from "./worker-host.ts"

export interface RuntimeOptions {
  log: RuntimeLog
  /** Threads; one fewer than the cores unless told. */
  workers?: number
  /** Heap of each thread in MiB; one that needs more ends alone. */
  heapMb?: number
  /** A thread that has not answered for this long is ended and replaced. */
  watchdogMs?: number
  settings?: Partial<RuntimeSettings>
  /** Text and images of one user alive at once; a run beyond waits its turn. */
  bytesPerUser?: number
  /** How long the thread for large runs is kept without one. */
  heavyIdleMs?: number
  /** Another program for the threads; for tests of what happens when one gets stuck or dies. */
  entry?: URL
}

/**
 * Runs that begin with more (pictures) have a thread of their own, which is begun for the first of them: encoding them and
 * writing a request of many megabytes takes a thread tens of milliseconds, and those who chat would wait for it.
 */
const HEAVY_BYTES = MIB
/** Their thread goes when there are none: it holds memory for what it has sent. */
const HEAVY_IDLE_MS = 30_000

/** After a thread has ended the next is started at once, but not more often than this. */
const RESTART_PAUSE_MS = 1000

export function startRuntime(options: RuntimeOptions): Runtime {
  const { log } = options
  const heapMb = options.heapMb ?? 512
  const settings = { ...DEFAULT_SETTINGS, ...options.settings }
  const limits = {
    bytesPerUser: options.bytesPerUser ?? 32 * MIB,
    // A history lives up to three times at once: as given, as the provider's request, as bytes on the way.
    bytesInAll: (heapMb * MIB) / 4,
  }
  let stopped = false
  const unfinished = new Set<(outcome: RunOutcome) => void>()

  /** One place of the pool: its thread may be replaced, its waiting runs stay. */
  function createSlot(name: string, heavyIdleMs: number | null = null) {
    let runs = 0
    let idle: NodeJS.Timeout | undefined
    let startedAt = Number.NEGATIVE_INFINITY
    let restart: NodeJS.Timeout | null = null
    let worker: WorkerHost | null = null
    let whenUp: (() => void)[] = []

    function start() {
      if (stopped || worker !== null) return
      startedAt = performance.now()
      worker = startWorker({
        name,
        stepsBack: heavyIdleMs !== null,
        heapMb,
        watchdogMs: options.watchdogMs ?? 5000,
        entry: options.entry ?? new URL("./worker.ts", import.meta.url),
        settings,
        log,
        onDeath(reason) {
          worker = null
          if (stopped) return
          log("error", `${name} ended (${reason}); it is replaced`)
          const pause = Math.max(0, RESTART_PAUSE_MS - (performance.now() - startedAt))
          restart = setTimeout(start, pause)
        },
      })
      const waiting = whenUp
      whenUp = []
      for (const go of waiting) go()
    }
    async function end() {
      if (restart !== null) clearTimeout(restart)
      const ended = worker
      worker = null
      startedAt = Number.NEGATIVE_INFINITY
      await ended?.stop()
    }
    return {
      admission: createByteGate(limits),
      start,
      /** For a slot that is not begun with the others: there is a thread until the function given back was called. */
      hold() {
        if (heavyIdleMs === null) return () => {}
        clearTimeout(idle)
        runs++
        if (startedAt === Number.NEGATIVE_INFINITY) start()
        return () => {
          if (--runs === 0) idle = setTimeout(() => void end(), heavyIdleMs).unref()
        }
      },
      current: () => worker,
      /** Runs `go` with a thread, now or when the next is up. */
      withWorker(go: (worker: WorkerHost) => void) {
        if (worker !== null) go(worker)
        else whenUp.push(() => worker !== null && go(worker))
      },
      async stop() {
        clearTimeout(idle)
        await end()
      },
    }
  }
  const count = options.workers ?? Math.max(1, availableParallelism() - 1)
  const slots = Array.from({ length: count }, (_, index) => createSlot(`runtime worker ${index}`))
  const heavy = createSlot("runtime worker for images", options.heavyIdleMs ?? HEAVY_IDLE_MS)

  const slotOf = (userId: string) => {
    const hash = createHash("sha256").update(userId).digest().readUInt32BE(0)
    const slot = slots[hash % slots.length]
    if (slot === undefined) throw new Error("the runtime has no workers")
    return slot
  }
  let catalogue: Promise<CatalogueModel[]> | null = null

  return {
    start() {
      for (const slot of slots) slot.start()
    },

    run(spec, host): RunHandle {
      const bytes = weigh(spec)
      const slot = bytes > HEAVY_BYTES ? heavy : slotOf(spec.userId)
      const release = slot.hold()
      const { promise, resolve } = Promise.withResolvers<RunOutcome>()
      let state: "waiting" | "running" | "ended" = "waiting"
      const finish = (outcome: RunOutcome) => {
        if (state === "ended") return
        state = "ended"
        unfinished.delete(finish)
        leave()
        release()
        resolve(outcome)
      }
      unfinished.add(finish)
      let leave = () => {}
      leave = slot.admission.enter(spec.userId, bytes, () =>
        slot.withWorker((worker) => {
          if (state !== "waiting") return
          state = "running"
          worker.run({ spec, host, finish })
        }),
      )
      return {
        outcome: promise,
        cancel() {
          if (state === "waiting") finish({ type: "cancelled", usage: NO_USAGE })
          else if (state === "running") slot.current()?.cancel(spec.runId)
        },
      }
    },

    catalogue() {
      catalogue ??= ask(slotOf("catalogue"), (worker) => worker.catalogue()).catch((error: unknown) => {
        catalogue = null
        throw error
      })
      return catalogue
    },

    testModel(model, credentials) {
      return ask(slotOf(model), (worker) => worker.testModel(model, credentials))
    },

    async [Symbol.asyncDispose]() {
      stopped = true
      await Promise.all([...slots, heavy].map((slot) => slot.stop()))
      for (const finish of unfinished) {
        finish({ type: "failed", code: "unavailable", message: "the server is shutting down", usage: NO_USAGE })
      }
    },
  }
}

function ask<T>(
  slot: { withWorker(go: (worker: WorkerHost) => void): void },
  question: (worker: WorkerHost) => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => slot.withWorker((worker) => question(worker).then(resolve, reject)))
}
