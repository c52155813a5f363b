import type { DeployStatus } from "@autonomis/contract/agents.ts"
import type { InstallStage, Skill } from "@autonomis/contract/skills.ts"
import type { LogEntry } from "@autonomis/contract/usage.ts"
import type { CallOptions } from "./calls.ts"
import { wait } from "./client.ts"
import { ApiError, ConnectionError } from "./errors.ts"
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

/**
 * A skill's install or upload, stage by stage; returns the skill:
 * `followSkill((call) => client.skills.install({ user, slug }, {}, call), signal)`.
 */
export async function* followSkill(
  begin: (call: CallOptions) => Promise<unknown>,
  signal: AbortSignal,
): AsyncGenerator<InstallStage, Skill, void> {
  const answer = await begin({ signal, headers: AS_EVENTS })
  // The kept answer of an earlier request with the same idempotency key.
  if (!(answer instanceof Response)) return answer as Skill
  for await (const { event, data } of readEvents(answer)) {
    if (event === "stage") yield data as InstallStage
    if (event === "done") return data as Skill
    if (event === "error") throw errorIn(data as Record<string, unknown>, answer.headers)
  }
  throw new ConnectionError(new Error("the stream ended too early"))
}

/** As if it had been the answer. */
function errorIn(data: Record<string, unknown>, headers: Headers): ApiError {
  const all = new Headers(headers)
  if (data.retry_after_seconds !== undefined) all.set("Retry-After", String(data.retry_after_seconds))
  return new ApiError(Number(data.status), data, all)
}

/** These calls answer with a stream when they are asked for one. */
function asStream(answer: unknown): Response {
  if (answer instanceof Response) return answer
  throw new Error("the server did not answer with a stream")
}
