import { useQuery } from "@tanstack/react-query"
import { useEffect, useMemo, useSyncExternalStore } from "react"
import { api, queryClient } from "../api.ts"
import { pathTo } from "../paths.ts"
import { runQuery, sessionQuery, sessionsQuery } from "../queries.ts"
import { createLiveRuns, type Live, type Place } from "./live.ts"
import { type Turn, turnsOf } from "./turns.ts"

/** Why a run has no answer; null when it has one. Known of those runs that this page saw end. */
export interface RunFailure {
  error: string
  code: string
}
export const failureKey = (runId: string) => ["run-failure", runId]

/** A conversation that has just begun is in the list from then on. */
const listAnew = ({ user, agent }: Place) =>
  queryClient.invalidateQueries({ queryKey: sessionsQuery(user, agent).queryKey })

export const liveRuns = createLiveRuns(api, listAnew, async ({ user, agent, session }, live) => {
  const { runId } = live.answer
  if (runId !== null) ended.add(runId)
  if (runId !== null && live.answer.end?.kind === "error")
    queryClient.setQueryData<RunFailure>(failureKey(runId), live.answer.end)
  await Promise.all([
    queryClient.invalidateQueries({ queryKey: sessionQuery(user, agent, session).queryKey }),
    listAnew({ user, agent, session }),
  ])
})

/** Runs that are known to have ended. */
const ended = new Set<string>()

export interface Conversation {
  turns: readonly Turn[]
  live: Live | undefined
  query: { data: unknown; error: unknown; refetch: () => unknown }
}

/** The stored conversation (`saved`: there is one) and the run under way, as one list of turns. */
export function useConversation({ user, agent, session }: Place, saved: boolean): Conversation {
  const place = useMemo(() => ({ user, agent, session }), [user, agent, session])
  const query = useQuery({ ...sessionQuery(user, agent, session), enabled: saved })
  const live = useSyncExternalStore(liveRuns.subscribe, () => liveRuns.get(place))
  const stored = query.data
  const lastRun = stored?.at(-1)?.run_id ?? null

  // A run that was begun in another tab, or before this page was loaded, is read from here too.
  useEffect(() => {
    if (lastRun === null || ended.has(lastRun) || liveRuns.get(place) !== undefined) return
    const look = async () => {
      const run = await api.runs.get({ user: place.user, agent: place.agent, run_id: lastRun })
      if (run.state === "queued" || run.state === "running") return liveRuns.attach(place, lastRun)
      ended.add(lastRun)
      queryClient.setQueryData(runQuery(place.user, place.agent, lastRun).queryKey, run)
      if (run.error) queryClient.setQueryData<RunFailure>(failureKey(lastRun), run.error)
    }
    look().catch(() => undefined)
  }, [lastRun, place])

  const liveRunId = live?.answer.runId ?? null
  const turns = useMemo(() => {
    const { user, agent, session } = place
    const imageUrl = (id: string, hash: string) => pathTo.image(user, agent, session, id, hash)
    const all = turnsOf(stored ?? [], imageUrl, liveRunId)
    if (live === undefined) return all
    const last = all.at(-1)
    const { parts, usage } = live.answer
    const inStore = last !== undefined && liveRunId !== null && last.runId === liveRunId
    if (inStore) return [...all.slice(0, -1), { ...last, parts, usage }]
    const question = live.question
    return [
      ...all,
      { id: "live", messageId: null, question, runId: liveRunId, parts, usage, model: null, time: null } satisfies Turn,
    ]
  }, [stored, live, liveRunId, place])
  return { turns, live, query }
}
