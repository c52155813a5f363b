import type { FeedEvent } from "../feed.ts"
import type { LiveRun } from "../live-run.ts"

/** What a client of the gateway sees of a run: its text and nothing else. */
export interface TextListener {
  text(piece: string): void
  /** The text of the message under way is void. `shown`: some of it was passed on. */
  reset(shown: boolean): void
  /** A tool works: the run is alive, though there is no text. */
  busy(): void
}

/** Passes on what the agent says, its messages apart by an empty line; misses nothing of a run just started. */
export function listenToText(run: LiveRun, listener: TextListener): () => void {
  let said = false
  let inMessage = false
  let apart = false
  const on = ({ event, data }: FeedEvent) => {
    if (event === "message.delta") {
      const piece = deltaOf(data)
      listener.text(apart ? `\n\n${piece}` : piece)
      apart = false
      said = true
      inMessage = true
    } else if (event === "message.reset") {
      listener.reset(inMessage)
      inMessage = false
    } else if (event === "tool.started") {
      inMessage = false
      apart = said
      listener.busy()
    }
  }
  for (const event of run.feed.since(0) ?? []) on(event)
  return run.feed.subscribe(on)
}

function deltaOf(data: unknown): string {
  return typeof data === "object" && data !== null && "delta" in data ? String(data.delta) : ""
}
