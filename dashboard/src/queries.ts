import { isApiError } from "@autonomis/sdk/errors.ts"
import { infiniteQueryOptions, queryOptions } from "@tanstack/react-query"
import { api, ME, queryClient } from "./api.ts"

/** Null: not signed in. */
export const meQuery = queryOptions({
  queryKey: ME,
  staleTime: 60_000,
  queryFn: async ({ signal }) => {
    try {
      return await api.me.get({}, { signal })
    } catch (error) {
      if (isApiError(error, "unauthorized")) return null
      throw error
    }
  },
})

export const userQuery = (user: string) =>
  queryOptions({ queryKey: ["user", user], queryFn: ({ signal }) => api.users.get({ user }, { signal }) })

const USERS_AT_ONCE = 100

/** All users whose name, e-mail or display name has `q` in it, page by page. */
export const usersQuery = (q: string) =>
  infiniteQueryOptions({
    queryKey: ["users", "pages", q],
    initialPageParam: null as string | null,
    // Every page that is shown would be read again.
    refetchOnWindowFocus: false,
    queryFn: ({ pageParam: cursor, signal }) =>
      api.users.list({ limit: USERS_AT_ONCE, ...(q ? { q } : {}), ...(cursor ? { cursor } : {}) }, { signal }),
    getNextPageParam: (last) => last.next_cursor,
  })

/** The first users with `q` in them, for a choice that is narrowed by typing. */
export const someUsersQuery = (q: string) =>
  queryOptions({
    queryKey: ["users", "some", q],
    queryFn: ({ signal }) => api.users.list({ limit: 20, ...(q ? { q } : {}) }, { signal }),
  })

/** `known`: the user that an administrator looked at last, if there still is one, or the only one. `first`: any. */
export const startQuery = (last: string | null) =>
  queryOptions({
    queryKey: ["users", "start", last],
    queryFn: async ({ signal }) => {
      const { users } = await api.users.list({ limit: 2 }, { signal })
      const first = users[0]?.user ?? null
      const only = users.length === 1 ? first : null
      if (last === null || first === null) return { known: only, first }
      try {
        return { known: (await api.users.get({ user: last }, { signal })).user, first }
      } catch (error) {
        if (isApiError(error, "not_found")) return { known: only, first }
        throw error
      }
    },
  })

export const agentsQuery = (user: string) =>
  queryOptions({
    queryKey: ["agents", user],
    queryFn: async ({ signal }) => {
      const agents = []
      let cursor: string | null = null
      do {
        const page: Awaited<ReturnType<typeof api.agents.list>> = await api.agents.list(
          { user, limit: 200, ...(cursor ? { cursor } : {}) },
          { signal },
        )
        agents.push(...page.agents)
        cursor = page.next_cursor
      } while (cursor)
      return agents
    },
  })

export const agentQuery = (user: string, agent: string) =>
  queryOptions({
    queryKey: ["agent", user, agent],
    queryFn: ({ signal }) => api.agents.get({ user, agent }, { signal }),
  })

export const modelsQuery = (user: string) =>
  queryOptions({
    queryKey: ["models", user],
    staleTime: 60_000,
    queryFn: async ({ signal }) => (await api.models.list({ user }, { signal })).models,
  })

export const plansQuery = queryOptions({
  queryKey: ["plans"],
  staleTime: 300_000,
  queryFn: ({ signal }) => api.plans.list({}, { signal }),
})

export const secretsQuery = (user: string) =>
  queryOptions({
    queryKey: ["secrets", user],
    queryFn: async ({ signal }) => (await api.secrets.list({ user }, { signal })).secrets,
  })

export const skillsQuery = (user: string) =>
  queryOptions({
    queryKey: ["skills", user],
    queryFn: async ({ signal }) => (await api.skills.list({ user }, { signal })).skills,
  })

export const usageQuery = (user: string, month: string) =>
  queryOptions({
    queryKey: ["usage", user, month],
    queryFn: ({ signal }) => api.usage.get({ user, month }, { signal }),
  })

export const sessionsQuery = (user: string, agent: string) =>
  infiniteQueryOptions({
    queryKey: ["sessions", user, agent],
    initialPageParam: null as string | null,
    queryFn: ({ pageParam: cursor, signal }) =>
      api.sessions.list({ user, agent, limit: 100, ...(cursor ? { cursor } : {}) }, { signal }),
    getNextPageParam: (last) => last.next_cursor,
    refetchOnWindowFocus: false,
  })

type SessionPage = Awaited<ReturnType<typeof api.sessions.get>>

/** A conversation with the place of its last page, from which it is read on. */
interface Conversation {
  messages: SessionPage["messages"]
  /** How many messages stand before the last page, and the cursor that leads to it. */
  before: number
  lastCursor: string | null
}

/** A whole conversation; empty when it has not begun. What was read before is not read again, but for its last page. */
export const sessionQuery = (user: string, agent: string, session: string) => {
  const queryKey = ["session", user, agent, session]
  const pages = async (from: Conversation, signal: AbortSignal): Promise<Conversation> => {
    let { lastCursor: cursor } = from
    let before = from.before
    const messages = from.messages.slice(0, before)
    for (;;) {
      const place = { user, agent, session, limit: 200, ...(cursor ? { cursor } : {}) }
      const page = await api.sessions.get(place, { signal })
      before = messages.length
      messages.push(...page.messages)
      if (page.next_cursor === null) return { messages, before, lastCursor: cursor }
      cursor = page.next_cursor
    }
  }
  const nothing: Conversation = { messages: [], before: 0, lastCursor: null }
  return queryOptions({
    queryKey,
    staleTime: 0,
    queryFn: async ({ signal }): Promise<Conversation> => {
      try {
        const known = queryClient.getQueryData<Conversation>(queryKey) ?? nothing
        const read = await pages(known, signal)
        // Cut before its last page, in another tab perhaps: then that page holds other messages, or none.
        const goesOn = known.before === 0 || read.messages[known.before]?.id === known.messages[known.before]?.id
        return goesOn ? read : await pages(nothing, signal)
      } catch (error) {
        if (isApiError(error, "not_found") && error.message !== "agent not found") return nothing
        throw error
      }
    },
    select: (conversation) => conversation.messages,
  })
}

export const runQuery = (user: string, agent: string, runId: string) =>
  queryOptions({
    queryKey: ["run", user, agent, runId],
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: ({ signal }) => api.runs.get({ user, agent, run_id: runId }, { signal }),
  })

export const statusQuery = queryOptions({
  queryKey: ["status"],
  refetchInterval: 10_000,
  queryFn: ({ signal }) => api.platform.status({}, { signal }),
})
