import type { Agent, DeployStatus } from "@autonomis/contract/agents.ts"
import { z } from "zod"
import { iso } from "../lib/clock.ts"
import { remember } from "../lib/remember.ts"

/** What is done for a new agent, in this order. The first four are done once; the last two may come to fail later. */
export const STEP_NAMES = ["record", "keys", "workspace", "templates", "sandbox", "model"] as const
export type StepName = (typeof STEP_NAMES)[number]

const StepSchema = z.object({
  name: z.enum(STEP_NAMES),
  status: z.enum(["pending", "running", "done", "failed"]),
  startedAt: z.number().nullable(),
  finishedAt: z.number().nullable(),
  error: z.object({ cause: z.string(), cure: z.string() }).nullable(),
})
export type Step = z.infer<typeof StepSchema>
export type StepError = NonNullable<Step["error"]>

/** The steps as they stand once the agent's row, keys and templates were written in one transaction. */
export function startedSteps(now: number): Step[] {
  const done = new Set<StepName>(["record", "keys", "templates"])
  return STEP_NAMES.map((name) => ({
    name,
    status: done.has(name) ? "done" : "pending",
    startedAt: done.has(name) ? now : null,
    finishedAt: done.has(name) ? now : null,
    error: null,
  }))
}

/** Parsed once: an agent's steps are looked at far more often than they change. */
const parsed = new Map<string, readonly Step[]>()
const MOST_PARSED = 5000

export function readSteps(text: string): readonly Step[] {
  const known = parsed.get(text)
  if (known !== undefined) return known
  const steps = z.array(StepSchema).safeParse(JSON.parse(text)).data ?? []
  if (parsed.size >= MOST_PARSED) parsed.clear()
  parsed.set(text, steps)
  return steps
}

export function isSettled(steps: readonly Step[]): boolean {
  return steps.every((step) => step.status === "done" || step.status === "failed")
}

/** Asked of each agent that is shown, and nearly always so. */
const isAllDone = remember((steps: readonly Step[]) => steps.every((step) => step.status === "done"))

/** Puts what was just found out about a step in its place; its times stay where nothing has changed. */
export function withResult(
  steps: readonly Step[],
  name: StepName,
  error: StepError | null,
  now: number,
): readonly Step[] {
  if (error === null && isAllDone(steps)) return steps
  const status = error === null ? "done" : "failed"
  const isSo = (step: Step) => step.name !== name || (step.status === status && step.error?.cause === error?.cause)
  if (steps.every(isSo)) return steps
  return steps.map((step) =>
    isSo(step) ? step : { ...step, status, error, startedAt: step.startedAt ?? now, finishedAt: now },
  )
}

export function stateOf(steps: readonly Step[], running: boolean): Agent["state"] {
  if (running) return "running"
  if (!isSettled(steps)) return "deploying"
  return steps.some((step) => step.status === "failed") ? "failed" : "ready"
}

interface Deployed {
  name: string
  steps: readonly Step[]
  running: boolean
}

/** The whole account's deployment: as far as its agents have come, failed only once nothing is under way any more. */
export function deployStatus(agents: readonly Deployed[]): DeployStatus {
  const all = agents.flatMap((agent) => agent.steps)
  const settled = isSettled(all)
  const failed = all.some((step) => step.status === "failed")
  const idle = all.every((step) => step.status === "pending")
  const done = all.filter((step) => step.status === "done").length
  return {
    status: settled ? (failed ? "failed" : "ready") : idle ? "pending" : "deploying",
    progress: all.length === 0 ? 100 : Math.floor((100 * done) / all.length),
    steps: agents.flatMap((agent) =>
      agent.steps.map(({ name, status, startedAt, finishedAt, error }) => ({
        agent: agent.name,
        name,
        status,
        started_at: startedAt === null ? null : iso(startedAt),
        finished_at: finishedAt === null ? null : iso(finishedAt),
        error,
      })),
    ),
    agents: agents.map(({ name, steps, running }) => ({ name, state: stateOf(steps, running) })),
  }
}
