import type { ChatMessage } from "@autonomis/contract/chat.ts"
import { type RunEvent, streamChat, streamRun } from "@autonomis/sdk/run-events.ts"
import type { Client } from "@autonomis/sdk/table.ts"
import { applyEvent, type LiveAnswer, NOTHING_YET, type Turn } from "./turns.ts"

export interface Place {
  user: string
  agent: string
  session: string
}
export type Question = NonNullable<Turn["question"]>

export interface Live {
  /** Null when the run was begun elsewhere: its question is in the stored conversation. */
  question: Question | null
  answer: LiveAnswer
  connection: "open" | "lost"
  stopping: boolean
  /** The request itself failed: the message was not taken. */
  failure: unknown
}

/** How often a reader sees the answer grow. */
const FRAME_MS = 40

/**
 * The runs that this page reads, by conversation. They live beside the pages, so that an answer goes on being read
 * while its reader looks at something else.
 */
export function createLiveRuns(
  api: Client,
  onBegin: (place: Place) => void,
  onEnd: (place: Place, live: Live) => void | Promise<void>,
) {
  const runs = new Map<string, Live>()
  const listeners = new Set<() => void>()
  let timer: ReturnType<typeof setTimeout> | null = null

  const keyOf = ({ user, agent, session }: Place) => `${user}/${agent}/${session}`
  const tell = () => {
    if (timer !== null) return
    timer = setTimeout(() => {
      timer = null
      for (const listener of listeners) listener()
    }, FRAME_MS)
  }
  const change = (place: Place, part: Partial<Live>) => {
    const live = runs.get(keyOf(place))
    if (live === undefined) return
    runs.set(keyOf(place), { ...live, ...part })
    tell()
  }
  const cancel = (place: Place, runId: string) =>
    api.runs.cancel({ user: place.user, agent: place.agent, run_id: runId }).catch(() => undefined)

  async function read(place: Place, question: Question | null, events: AsyncIterable<RunEvent>): Promise<void> {
    const key = keyOf(place)
    runs.set(key, { question, answer: NOTHING_YET, connection: "open", stopping: false, failure: null })
    tell()
    try {
      for await (const event of events) {
        const live = runs.get(key)
        if (live === undefined) return
        const answer = applyEvent(live.answer, event)
        change(place, { answer })
        if (event.event === "run.started") onBegin(place)
        // Asked to stop before the run had a name.
        if (event.event === "run.started" && live.stopping) void cancel(place, event.data.run_id)
      }
    } catch (failure) {
      change(place, { failure })
    }
    const live = runs.get(key)
    if (live === undefined) return
    await onEnd(place, live)
    // What could not be sent stays until the reader does something about it.
    if (live.failure === null) runs.delete(key)
    tell()
  }

  const onConnection = (place: Place) => (connection: "open" | "lost") => change(place, { connection })

  return {
    subscribe(listener: () => void) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    get: (place: Place): Live | undefined => runs.get(keyOf(place)),
    /** True while a run of this conversation is read. */
    busy: (place: Place) => runs.get(keyOf(place))?.failure === null,
    send(place: Place, question: Question, content: ChatMessage["content"]): void {
      const body = { messages: [{ role: "user" as const, content }], session: place.session, background: true }
      void read(
        place,
        question,
        streamChat(api, { user: place.user, agent: place.agent }, body, { onConnection: onConnection(place) }),
      )
    },
    attach(place: Place, runId: string): void {
      if (runs.has(keyOf(place))) return
      void read(
        place,
        null,
        streamRun(api, { user: place.user, agent: place.agent }, runId, { onConnection: onConnection(place) }),
      )
    },
    stop(place: Place): void {
      const live = runs.get(keyOf(place))
      if (live === undefined) return
      change(place, { stopping: true })
      if (live.answer.runId !== null) void cancel(place, live.answer.runId)
    },
    forget(place: Place): void {
      runs.delete(keyOf(place))
      tell()
    },
  }
}
