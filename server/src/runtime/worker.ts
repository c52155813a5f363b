import { parentPort, workerData } from "node:worker_threads"
import { letOthersGoFirst } from "../lib/thread.ts"
import { keepTickShape } from "../lib/tick-shape.ts"
import { createBorder } from "./border.ts"
import { createDemoBudget } from "./demo-model.ts"
import { installGuard } from "./guard.ts"
import { loadPi } from "./pi/load.ts"
import type { Credentials, FromWorker, RunOutcome, RunSpec, ToWorker } from "./protocol.ts"
import { scrubKeys } from "./scrub.ts"
import { NO_USAGE } from "./usage.ts"
import type { WorkerData } from "./worker-host.ts"

/** The entry of a runtime thread. Provider keys come with each run and are kept nowhere else. */
if (parentPort === null) throw new Error("the runtime worker runs in a thread of the server")
const main = parentPort
const { settings, stepsBack }: WorkerData = workerData
const post = (message: FromWorker) => main.postMessage(message)
const border = createBorder(post)
const running = new Map<string, AbortController>()
const demoBudget = createDemoBudget(() => Date.now())
if (stepsBack) letOthersGoFirst()
installGuard()
keepTickShape()

main.on("message", (message: ToWorker) => {
  switch (message.type) {
    case "run":
      void run(message.spec)
      return
    case "cancel":
      running.get(message.runId)?.abort()
      return
    case "ping":
      post({ type: "pong", callId: message.callId })
      return
    case "catalogue":
      void answer(message.callId, "the catalogue of models", [], async () => {
        const { listCatalogue } = await import("./catalogue.ts")
        return { type: "catalogue.answer", callId: message.callId, models: await listCatalogue() }
      })
      return
    case "test-model": {
      const { callId, model, credentials } = message
      void answer(callId, `the test of ${model}`, secretsOf(credentials), async () => {
        const { testModel } = await import("./test-model.ts")
        const result = await testModel(model, credentials, { pi: await loadPi(), settings })
        return { type: "test-model.answer", callId, result }
      })
      return
    }
    default:
      border.receive(message)
  }
})

function log(error: unknown, what: string, secrets: string[]) {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  post({ type: "log", level: "error", message: `${what}: ${scrubKeys(text, secrets)}` })
}
// A client that leaves a rejection behind must not end the runs of others.
process.on("unhandledRejection", (error) => log(error, "left behind in a runtime worker", []))

const secretsOf = ({ apiKey, headers }: Credentials) => [apiKey ?? "", ...Object.values(headers)]

/** Whoever asked gets an answer in any case; why there was none goes to the log. */
async function answer(callId: number, what: string, secrets: string[], work: () => Promise<FromWorker>) {
  try {
    post(await work())
  } catch (error) {
    log(error, `${what} failed`, secrets)
    post({ type: "call.failed", callId })
  }
}

async function run(spec: RunSpec) {
  const abort = new AbortController()
  running.set(spec.runId, abort)
  let outcome: RunOutcome
  try {
    const [{ executeRun }, pi] = await Promise.all([import("./run.ts"), loadPi()])
    outcome = await executeRun(spec, border.portOf(spec.runId), { pi, settings, demoBudget }, abort.signal)
  } catch (error) {
    // Not a provider's failure but ours: its text goes to the log alone.
    log(error, `run ${spec.runId} failed`, secretsOf(spec.credentials))
    outcome = { type: "failed", code: "internal", message: "internal server error", usage: NO_USAGE }
  }
  running.delete(spec.runId)
  post({ type: "finished", runId: spec.runId, outcome })
}

post({ type: "ready" })
// The first run should not have to wait for what all runs need.
setTimeout(() => void Promise.all([import("./run.ts"), loadPi()]), 0)
