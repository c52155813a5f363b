import type { StreamEventName } from "@autonomis/contract/chat.ts"

/** One event of a run as readers get it; ids count up over the run's life. */
export interface FeedEvent {
  id: number
  event: StreamEventName
  data: unknown
}

/** The message under way, as far as it was sent on; `voided` when a reset took back what readers were shown of it. */
export interface UnderWay {
  text: string
  thinking: string
  voided: boolean
}

export interface Feed {
  readonly lastId: number
  /** Characters that the ring holds, about. */
  readonly size: number
  readonly underWay: UnderWay
  /** Gives an id to an event that only later readers get (from the database), because live ones have seen it in parts. */
  skip(): number
  publish(event: StreamEventName, data: unknown): FeedEvent
  /** `run.started`, under the first id. */
  start(data: unknown): void
  /** The last event of all, under an id that `skip` gave for it. */
  conclude(id: number, event: "done" | "error", data: unknown): void
  /** A piece of the message under way, sent on as it is: the runtime has joined small ones. */
  delta(kind: "message.delta" | "thinking.delta", piece: string): void
  reset(reason: string): void
  /** The message under way is whole: what comes next is another one. */
  messageDone(): void
  /** What came after `id`, exactly; null when the ring does not reach back so far. */
  since(id: number): FeedEvent[] | null
  subscribe(listener: (event: FeedEvent) => void): () => void
}

/** Characters of events that are kept for readers who come back. */
const RING_SIZE = 256 * 1024
const RING_EVENTS = 4096

/**
 * The live events of one run, at its owner. `before` is the id before the first event, which is always `run.started`:
 * its id is set aside, because whether it comes is decided elsewhere than what else comes.
 */
export function createFeed(before: number, ringSize = RING_SIZE): Feed {
  let lastId = before + 1
  let ring: { event: FeedEvent; size: number }[] = []
  let ringBytes = 0
  /** The ring holds every event after this id. */
  let ringFrom = before
  const listeners = new Set<(event: FeedEvent) => void>()
  const underWay: UnderWay = { text: "", thinking: "", voided: false }

  function emit(event: StreamEventName, data: unknown, size: number, id = ++lastId): FeedEvent {
    const made: FeedEvent = { id, event, data }
    ring.push({ event: made, size })
    ringBytes += size
    if (ringBytes > 1.25 * ringSize || ring.length > 1.25 * RING_EVENTS) trim()
    for (const listener of listeners) listener(made)
    return made
  }

  /** In bulk: dropping one at each event would cost the ring's length every time. */
  function trim(): void {
    let drop = 0
    for (const { event, size } of ring) {
      if (ringBytes <= ringSize && ring.length - drop <= RING_EVENTS) break
      drop++
      ringBytes -= size
      ringFrom = event.id
    }
    ring = ring.slice(drop)
  }

  function forget(): void {
    underWay.text = ""
    underWay.thinking = ""
  }

  return {
    get lastId() {
      return lastId
    },
    get size() {
      return ringBytes
    },
    underWay,
    skip() {
      return ++lastId
    },
    publish(event, data) {
      return emit(event, data, JSON.stringify(data).length + 64)
    },
    start(data) {
      emit("run.started", data, JSON.stringify(data).length + 64, before + 1)
    },
    conclude(id, event, data) {
      emit(event, data, JSON.stringify(data).length + 64, id)
    },
    delta(kind, piece) {
      if (piece === "") return
      if (kind === "message.delta") underWay.text += piece
      else underWay.thinking += piece
      emit(kind, { delta: piece }, piece.length + 64)
    },
    reset(reason) {
      forget()
      underWay.voided = true
      emit("message.reset", { reason }, reason.length + 64)
    },
    messageDone() {
      forget()
      underWay.voided = false
    },
    since(id) {
      if (id < ringFrom || id > lastId) return null
      return ring.filter(({ event }) => event.id > id).map(({ event }) => event)
    },
    subscribe(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}
