import type { AgentContext, AgentTool } from "@earendil-works/pi-agent-core"
import type { TSchema } from "@earendil-works/pi-ai"
import type { Hands } from "../hands.ts"
import type { Pi } from "../pi/load.ts"

export interface ToolDeps {
  pi: Pi
  hands: Hands
  /** Live output of the call `id`, for readers; not for the model. */
  onOutput: (id: string, chunk: string) => void
  /** Whether the model can look at images. */
  images: boolean
  /** Takes so many bytes of the run's image budget; false when it is spent. */
  takeImageBytes: (bytes: number) => boolean
}

/** `shown` is for readers beside what the model is given, e.g. the diff of an edit. */
export interface ToolDetails {
  shown?: string
}

export type Tool = NonNullable<AgentContext["tools"]>[number]

export const result = (text: string, details: ToolDetails = {}) => ({
  content: [{ type: "text" as const, text }],
  details,
})

/** So that a tool that is called without a signal (a test) still has one. */
export const orNever = (signal: AbortSignal | undefined) => signal ?? new AbortController().signal

/** Checks a tool against its own schema; the list that the loop takes knows no schemas. */
export const defineTool = <T extends TSchema>(tool: AgentTool<T, ToolDetails>): Tool => tool
