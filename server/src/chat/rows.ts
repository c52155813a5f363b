import type { ChatAnswer } from "@autonomis/contract/chat.ts"
import type { Schema } from "../db/schema.ts"

export type RunRow = Schema["runs"]
export type SessionRow = Schema["sessions"]
export type MessageRow = Schema["messages"]

/** What a run came to, when it did not come to an answer; `extra` is said beside it (`left`, `resets_at` …). */
export interface RunError {
  error: string
  code: string
  extra?: Record<string, unknown>
}

export type RunEnd = { state: "succeeded"; answer: ChatAnswer } | { state: "failed" | "cancelled"; error: RunError }

/** Room between the ids of one owner's events and the next one's: more than one owner can ever give. */
const IDS_PER_EPOCH = 1_000_000_000_000

/** The id before the first event that the owner of this epoch gives; ids go up from owner to owner. */
export const firstEventId = (epoch: number): number => epoch * IDS_PER_EPOCH
