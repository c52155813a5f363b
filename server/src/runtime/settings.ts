/** Bounds of the runtime; the same in every worker. Tests set shorter ones. */
export interface RuntimeSettings {
  /** A provider must answer with its headers within this time … */
  headersTimeoutMs: number
  /** … and then never be silent for longer than this. */
  idleTimeoutMs: number
  /** Repeats after the first try, on 429, 5xx and broken connections, before any text was sent on. */
  maxRetries: number
  /** The first pause; doubled at each repeat. */
  retryBaseMs: number
  /** A provider that asks for a longer pause than this is not waited for. */
  retryAfterMaxMs: number
}

export const DEFAULT_SETTINGS: RuntimeSettings = {
  headersTimeoutMs: 120_000,
  idleTimeoutMs: 120_000,
  maxRetries: 3,
  retryBaseMs: 500,
  retryAfterMaxMs: 30_000,
}

export const KIB = 1024
export const MIB = 1024 * KIB

/** No model writes faster; a flood that does gets no more of the thread than this. */
export const MAX_BYTES_PER_SECOND = 1024 * KIB
/** Tool arguments as JSON; beyond it the model's answer is cut off. */
export const MAX_ARGUMENT_BYTES = 256 * KIB
/** Calls in one answer of a model. */
export const MAX_CALLS_PER_MESSAGE = 128
/** What a model is given of one tool result. */
export const MAX_RESULT_BYTES = 16 * KIB
/** Text and images that one run may hold; it ends with an error beyond. */
export const MAX_RUN_BYTES = 64 * MIB
/** Images that tools may add to one run. */
export const MAX_TOOL_IMAGE_BYTES = 16 * MIB
