import type { Hands } from "./hands.ts"
import type {
  CatalogueModel,
  Credentials,
  ModelTest,
  ReserveAnswer,
  ReserveRequest,
  RunEvent,
  RunOutcome,
  RunSpec,
} from "./protocol.ts"
import type { RunUsage } from "./transcript.ts"

/** What the main thread does for one run. Calls come in order; `settle` comes once for each granted `reserve`. */
export interface RunHost {
  onEvent(event: RunEvent): void
  /** Bound to the run's own agent; nothing is opened before the first call. */
  hands: Hands
  /** May wait (up to 10 s) until other reservations settle. `callId` names the reservation until it is settled. */
  reserve(callId: number, request: ReserveRequest, signal: AbortSignal): Promise<ReserveAnswer>
  /** The provider's count, or null when the call never reached the provider. */
  settle(callId: number, usage: RunUsage | null): Promise<void>
}

export interface RunHandle {
  /** Exactly one outcome, also when the worker died. Never rejects. */
  readonly outcome: Promise<RunOutcome>
  /** Reaches the provider's connection and the command in the sandbox within 100 ms. Idempotent. */
  cancel(): void
}

/** The runtime workers, seen from the main thread. A user's runs share a worker. */
export interface Runtime extends AsyncDisposable {
  /** Starts the workers; calls before it wait for it. */
  start(): void
  run(spec: RunSpec, host: RunHost): RunHandle
  catalogue(): Promise<CatalogueModel[]>
  /** One smallest real call. */
  testModel(model: string, credentials: Credentials): Promise<ModelTest>
}
