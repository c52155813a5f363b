import type { DeployStatus } from "@autonomis/contract/agents.ts"
import type { LogEntry } from "@autonomis/contract/usage.ts"
import { wait } from "./client.ts"
import { ApiError } from "./errors.ts"
import { readEvents } from "./sse.ts"
import type { Client } from "./table.ts"

const AS_EVENTS = { Accept: "text/event-stream" }

/** Log lines as they come, until `signal` aborts; a lost connection is opened again. Starts with nothing of the past. */
export async function* followLogs(
  client: Client,
  input: { user: string | null; agent?: string },
  signal: AbortSignal,
  sleep = wait,
): AsyncGenerator<LogEntry, void, void> {
  const call = { signal, headers: AS_EVENTS }
  const { user, agent } = input
  const open = (): Promise<unknown> =>
    user === null
      ? client.logs.platform({ tail: 0, follow: "true" }, call)
      : client.logs.user({ user, tail: 0, follow: "true", ...(agent === undefined ? {} : { agent }) }, call)
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      for await (const { data } of readEvents(asStream(await open()))) {
        failures = 0
        yield data as LogEntry
      }
    } catch (error) {
      if (signal.aborted) return
      if (error instanceof ApiError && error.status < 500) throw error
    }
    await sleep(Math.min(500 * 2 ** failures, 10_000), signal).catch(() => undefined)
  }
}

/** Each state of a user's agents being set up, until it is ready or has failed. */
export async function* followDeploy(
  client: Client,
  user: string,
  signal: AbortSignal,
): AsyncGenerator<DeployStatus, void, void> {
  const answer: unknown = await client.agents.deployStatus({ user }, { signal, headers: AS_EVENTS })
  for await (const { data } of readEvents(asStream(answer))) yield data as DeployStatus
}

/** These calls answer with a stream when they are asked for one. */
function asStream(answer: unknown): Response {
  if (answer instanceof Response) return answer
  throw new Error("the server did not answer with a stream")
}
