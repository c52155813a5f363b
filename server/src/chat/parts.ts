import type { Database } from "../db/database.ts"
import type { Clock } from "../lib/clock.ts"
import type { Logger } from "../lib/log.ts"
import type { Runtime } from "../runtime/client.ts"
import type { Budgets } from "../usage/usage.ts"
import type { Attachments } from "./attachments.ts"
import type { ChatPorts } from "./ports.ts"
import type { RunStore } from "./run-store.ts"
import type { SessionStore } from "./session-store.ts"

/** What the pieces of `chat/` share. */
export interface ChatParts {
  db: Database
  clock: Clock
  log: Logger
  runtime: Runtime
  budgets: Budgets
  ports: ChatPorts
  attachments: Attachments
  runs: RunStore
  sessions: SessionStore
  /** `server/boot`: who owns the runs that start here. */
  owner: string
}
