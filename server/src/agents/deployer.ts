import { setTimeout as sleep } from "node:timers/promises"
import type { Clock } from "../lib/clock.ts"
import { AppError, messageOf } from "../lib/errors.ts"
import type { Logger } from "../lib/log.ts"
import type { Models, UserModels } from "../models/models.ts"
import type { Sandboxes } from "../sandboxes/sandboxes.ts"
import { configOf } from "./config.ts"
import { isSettled, readSteps, type Step, type StepError, type StepName, withResult } from "./deployment.ts"
import type { AgentRow, AgentStore } from "./store.ts"

/** Brings new agents up, step by step, and keeps saying truly whether they still stand. */
export interface Deployer extends AsyncDisposable {
  /** Begins with what is left to do for an agent; resolves when it is done, never rejects. */
  deploy(row: AgentRow): Promise<void>
  /** An agent's steps now. What may come to fail after the deployment is looked at afresh. */
  stepsOf(row: AgentRow, models: UserModels): readonly Step[]
  /** Stores what `stepsOf` has found, so that its times stay. */
  remember(row: AgentRow, steps: readonly Step[]): Promise<void>
  /** Resolves at the next step of any agent of the user, or after a second: another server may have done one. */
  changed(userId: string, signal: AbortSignal): Promise<void>
}

export interface DeployerOptions {
  store: AgentStore
  clock: Clock
  log: Logger
  models: Models
  sandboxes: Pick<Sandboxes, "files" | "selfTest" | "problem">
}

const LOOK_EVERY_MS = 1000

export function createDeployer({ store, clock, log, models, sandboxes }: DeployerOptions): Deployer {
  const stop = new AbortController()
  /** Agents whose steps are under way on this server. */
  const underWay = new Map<string, { steps: readonly Step[]; finished: Promise<void> }>()
  const waiting = new Map<string, Set<() => void>>()

  const modelError = (row: AgentRow, models: UserModels): StepError | null => {
    const cause = models.problem({ agentId: row.id, wanted: configOf(row).model })
    const cure = "Set the provider's key as a secret, or choose another model in the agent's config."
    return cause === null ? null : { cause, cure }
  }
  const sandboxError = (): StepError | null => {
    const problem = sandboxes.problem()
    return problem === null ? null : { cause: problem, cure: "Ask who runs this server; chats without tools work." }
  }
  const checks: Record<StepName, (row: AgentRow) => Promise<StepError | null>> = {
    record: async () => null,
    keys: async () => null,
    templates: async () => null,
    async workspace(row) {
      const owner = { id: row.id, userId: row.user_id, hostUid: row.host_uid }
      await sandboxes.files(owner).stat("", stop.signal)
      return null
    },
    async sandbox() {
      await sandboxes.selfTest(stop.signal)
      return sandboxError()
    },
    model: async (row) => modelError(row, await models.of(row.user_id)),
  }

  function tell(userId: string): void {
    const listeners = waiting.get(userId)
    waiting.delete(userId)
    for (const wake of listeners ?? []) wake()
  }

  async function run(row: AgentRow, state: { steps: readonly Step[] }): Promise<void> {
    for (const { name, status } of state.steps) {
      if (status === "done" || status === "failed") continue
      const startedAt = clock.now()
      state.steps = state.steps.map((step) => (step.name === name ? { ...step, status: "running", startedAt } : step))
      tell(row.user_id)
      const error = await checks[name](row).catch((failure: unknown) => errorOf(name, failure))
      if (stop.signal.aborted) return
      state.steps = withResult(state.steps, name, error, clock.now())
      tell(row.user_id)
    }
    await store.setDeploy(row.user_id, row.id, JSON.stringify(state.steps))
  }

  const errorOf = (name: StepName, failure: unknown): StepError => {
    if (!stop.signal.aborted && !(failure instanceof AppError))
      log.error("a step of an agent's deployment failed", { step: name, error: failure })
    const cause = failure instanceof AppError ? failure.message : `the ${name} step failed`
    return { cause, cure: "Try again later; if it stays, ask who runs this server." }
  }

  const remember: Deployer["remember"] = async (row, steps) => {
    const text = JSON.stringify(steps)
    if (text !== row.deploy && isSettled(steps)) await store.setDeploy(row.user_id, row.id, text)
  }

  return {
    remember,
    deploy(row) {
      const known = underWay.get(row.id)
      if (known !== undefined) return known.finished
      if (stop.signal.aborted) return Promise.resolve()
      const state = { steps: readSteps(row.deploy), finished: Promise.resolve() }
      underWay.set(row.id, state)
      state.finished = run(row, state)
        .catch((error: unknown) =>
          log.error("a deployment could not be stored", { agentId: row.id, error: messageOf(error) }),
        )
        .finally(() => {
          underWay.delete(row.id)
          tell(row.user_id)
        })
      return state.finished
    },
    stepsOf(row, models) {
      const current = underWay.get(row.id)?.steps
      if (current !== undefined) return current
      const steps = readSteps(row.deploy)
      if (!isSettled(steps)) return steps
      const now = clock.now()
      const tried = withResult(steps, "sandbox", sandboxError(), now)
      return withResult(tried, "model", modelError(row, models), now)
    },
    async changed(userId, signal) {
      const either = AbortSignal.any([signal, stop.signal])
      if (either.aborted) return
      const { promise, resolve } = Promise.withResolvers<void>()
      const listeners = waiting.get(userId) ?? new Set()
      waiting.set(userId, listeners.add(resolve))
      await Promise.race([promise, sleep(LOOK_EVERY_MS, undefined, { signal: either, ref: false }).catch(() => {})])
      listeners.delete(resolve)
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await Promise.all([...underWay.values()].map((state) => state.finished))
    },
  }
}
