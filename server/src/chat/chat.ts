import type { Database, Step } from "../db/database.ts"
import type { AgentRef, UserRef } from "../http/endpoint.ts"
import type { Clock } from "../lib/clock.ts"
import { AppError } from "../lib/errors.ts"
import { createKeyedLock } from "../lib/keyed-lock.ts"
import type { Logger } from "../lib/log.ts"
import type { Runtime } from "../runtime/client.ts"
import type { Budgets } from "../usage/usage.ts"
import { createAttachments, type Kept } from "./attachments.ts"
import { type ConversationMessage, type IncomingMessage, toConversation } from "./content.ts"
import { createLanes } from "./lanes.ts"
import { createLiveRun, type LiveRun, type Patience } from "./live-run.ts"
import type { ChatParts } from "./parts.ts"
import type { ChatPorts } from "./ports.ts"
import { type Prepared, type RunWish, specOf } from "./prepare.ts"
import { createRecovery } from "./recover.ts"
import { createRetention } from "./retention.ts"
import type { RunEnd } from "./rows.ts"
import { runStore } from "./run-store.ts"
import { createRuns, endOfRow, type Runs } from "./runs.ts"
import { sessionStore } from "./session-store.ts"
import { createSessions, type Sessions } from "./sessions.ts"
import { insertRun, promoteRun } from "./start-run.ts"

/** One message, or a whole conversation, for an agent. */
export interface Submission {
  user: UserRef
  agent: AgentRef
  messages: readonly IncomingMessage[]
  session: string | null
  model: string | null
  patience: Patience
  maxOutputTokens?: number | null
  stop?: string[]
  /** A further instruction, in place of a system message. */
  instruction?: string | null
  /** Is told of the run's end, until which the messages are held. */
  holdUntil?: (end: Promise<unknown>) => void
  /** Goes into the batch that makes the run's row. */
  bindRun?: (runId: string) => Step
}

export interface Chat extends AsyncDisposable {
  /** Starts a run, or puts it into its session's queue. When it resolves, the run and its messages are durable. */
  submit(submission: Submission): Promise<LiveRun>
  readonly runs: Runs
  readonly sessions: Sessions
  /** Before the first request: ends what this server's earlier start left under way. */
  recover(): Promise<void>
  /** Takes no new runs, lets those under way end, and stops them at the deadline. */
  drain(deadlineMs: number): Promise<void>
  /** No new run is taken from now on. */
  close(): void
  /** Resolves when no run is under way. */
  idle(): Promise<void>
  /** Cancels all runs of a user or an agent; resolves once they are seen to have stopped here. */
  endUser(userId: string): Promise<void>
  endAgent(agent: { id: string }): Promise<void>
  suspendUser(userId: string): Promise<void>
  /** How many runs are under way or waiting here. */
  runsNow(): number
}

export interface ChatOptions {
  db: Database
  clock: Clock
  log: Logger
  runtime: Runtime
  budgets: Budgets
  ports: ChatPorts
  dataDir: string
  /** `server` is the same at each start of one server, `boot` never. */
  owner: { server: string; boot: string }
}

/** At the drain's deadline runs have this long to let go. */
const STOP_MS = 3000

export function createChat(options: ChatOptions): Chat {
  const { db, clock, log, ports } = options
  const parts: ChatParts = {
    ...options,
    attachments: createAttachments(db, options.dataDir, clock.now),
    runs: runStore(db),
    sessions: sessionStore(db),
    owner: `${options.owner.server}/${options.owner.boot}`,
  }
  const live = new Map<string, LiveRun>()
  const lanes = createLanes()
  /** Messages enter a session in the order in which they came, whatever had to be done for each before. */
  const arrivals = createKeyedLock()
  let closed = false
  const stopping = new AbortController()
  let sweeping: Promise<void> | null = null

  const endFromOutside = async (runId: string): Promise<RunEnd | null> => {
    const row = await db.kysely.selectFrom("runs").selectAll().where("id", "=", runId).executeTakeFirst()
    return row === undefined ? null : endOfRow(row)
  }

  function adopt(run: LiveRun): void {
    live.set(run.id, run)
    void run.ended.then(() => {
      runs.keepForAWhile(run)
      live.delete(run.id)
    })
  }

  async function work(run: LiveRun, wish: RunWish, prepared: Prepared, conversation: ConversationMessage[]) {
    run.started()
    try {
      const session =
        run.session === null ? null : ((await parts.sessions.byName(run.agentId, run.session.name)) ?? null)
      run.work(await specOf(parts, run, wish, prepared, conversation, session))
    } catch (error) {
      run.abort(errorOf(log, run, error))
    }
  }

  /** Waits for its turn in the session, then begins. */
  function wait(run: LiveRun, wish: RunWish, kept: Kept<ConversationMessage>, conversation: ConversationMessage[]) {
    return async () => {
      try {
        const prepared = await lanes.untilFree(run.ended, () => promoteRun(parts, run, wish, kept))
        // Someone else has ended it; its end is read from there.
        if (prepared === null) return run.cancel()
        await work(run, wish, prepared, conversation)
      } catch (error) {
        run.abort(errorOf(log, run, error))
      }
    }
  }

  async function start(submission: Submission, conversation: ConversationMessage[], wish: RunWish): Promise<LiveRun> {
    const { user, agent, session } = submission
    if (session !== null) await ports.ensureStorage(user.id, sizeOf(conversation))
    const kept = session === null ? NOTHING_KEPT : await parts.attachments.keep(user.id, conversation)
    let waiting = false
    try {
      const started = await insertRun(
        parts,
        {
          userId: user.id,
          agentId: agent.id,
          agentName: agent.name,
          sessionName: session,
          conversation,
          wish,
          limits: user.limits,
          also: (runId) => (submission.bindRun ? [submission.bindRun(runId)] : []),
        },
        kept,
        lanes.isBusy,
      )
      const run = createLiveRun(parts, started.run, submission.patience, endFromOutside)
      adopt(run)
      submission.holdUntil?.(run.ended)
      if (started.queued) {
        waiting = true
        void run.ended.then(() => kept.done())
        lanes.enter(run, wait(run, wish, kept, conversation))
      } else {
        lanes.enter(run, () => work(run, wish, started.prepared, conversation))
      }
      return run
    } finally {
      if (!waiting) kept.done()
    }
  }

  const runs = createRuns(parts, live)
  const recovery = createRecovery(parts, options.owner.server, live)
  const retention = createRetention(db, clock, log)

  async function idle(): Promise<void> {
    while (live.size > 0) await Promise.all([...live.values()].map((run) => run.ended))
  }
  async function stopAll(): Promise<void> {
    for (const run of live.values()) run.abort({ error: "the server was stopped", code: "unavailable" })
    await within(idle(), STOP_MS)
  }

  async function endAll(belongs: (run: LiveRun) => boolean): Promise<void> {
    const ending = [...live.values()].filter(belongs)
    for (const run of ending) run.cancel()
    await Promise.all(ending.map((run) => run.ended))
  }

  return {
    runs,
    sessions: createSessions(parts),
    async submit(submission) {
      if (closed) throw new AppError("unavailable", "the server is stopping", { retryAfterSeconds: 5 })
      if (ports.paused())
        throw new AppError("unavailable", "the platform is paused: no new runs", { retryAfterSeconds: 30 })
      const { instruction, messages } = toConversation(submission.messages)
      const further = [submission.instruction ?? null, instruction].filter((text) => text !== null)
      const wish: RunWish = {
        model: submission.model,
        instruction: further.length === 0 ? null : further.join("\n\n"),
        maxOutputTokens: submission.maxOutputTokens ?? null,
        stop: submission.stop ?? [],
      }
      const begin = () => start(submission, messages, wish)
      if (submission.session === null) return begin()
      return arrivals.run(`${submission.agent.id}/${submission.session}`, begin)
    },
    async recover() {
      await recovery.ownEarlier()
      // Nobody waits for it.
      sweeping = parts.attachments.sweepLost(stopping.signal).catch((error: unknown) => {
        log.warn("lost images could not be removed", { error })
      })
    },
    close() {
      closed = true
    },
    idle,
    async drain(deadlineMs) {
      closed = true
      await within(idle(), deadlineMs)
      await stopAll()
    },
    endUser: (userId) => endAll((run) => run.userId === userId),
    endAgent: ({ id }) => endAll((run) => run.agentId === id),
    suspendUser: (userId) => endAll((run) => run.userId === userId),
    runsNow: () => live.size,
    async [Symbol.asyncDispose]() {
      closed = true
      await stopAll()
      stopping.abort()
      await sweeping
      await recovery[Symbol.asyncDispose]()
      await retention[Symbol.asyncDispose]()
      runs.close()
    },
  }
}

const NOTHING_KEPT: Kept<ConversationMessage> = { messages: [], steps: [], done() {} }

/** About what a conversation takes in the database and in files. */
function sizeOf(conversation: readonly ConversationMessage[]): number {
  let bytes = 0
  for (const { content } of conversation) {
    for (const part of content) bytes += part.type === "image" ? (part.bytes?.length ?? 0) : 200
    for (const part of content) if (part.type === "text") bytes += Buffer.byteLength(part.text)
  }
  return bytes
}

function errorOf(log: Logger, run: LiveRun, error: unknown) {
  if (error instanceof AppError && error.status < 500) {
    const { message, code, extra } = error
    return { error: message, code, ...(extra ? { extra } : {}) }
  }
  log.error("a run could not begin", { runId: run.id, error })
  return { error: "internal server error", code: "internal" }
}

/** Resolves with the promise, or after the time without it. */
async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  await Promise.race([promise, late])
  clearTimeout(timer)
}
