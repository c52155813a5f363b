import { parentPort } from "node:worker_threads"
import type { ToWorker } from "./protocol.ts"

/** The runtime's thread with two faults that tests can order by the name of a model. */
parentPort?.on("message", (message: ToWorker) => {
  if (message.type !== "run") return
  if (message.spec.model === "faulty/stuck") for (;;) Math.random()
  if (message.spec.model === "faulty/out-of-memory") {
    const kept: string[] = []
    for (;;) kept.push(Math.random().toString(36).repeat(1000))
  }
})
await import("./worker.ts")
