import type { Me } from "@autonomis/contract/platform.ts"
import { type ClientOptions, createClient } from "@autonomis/sdk/client.ts"
import { ApiError, ConnectionError, isApiError } from "@autonomis/sdk/errors.ts"
import { QueryClient } from "@tanstack/react-query"
import { tellingFetch } from "./telling-fetch.ts"
import { t } from "./texts.ts"

export const ME = ["me"] as const

const server: ClientOptions = {
  baseUrl: "",
  onError: (error) => {
    // The sign-in has ended: the shell shows the sign-in form where the reader stands.
    if (isApiError(error, "unauthorized")) queryClient.setQueryData(ME, null)
  },
}

/** The server that gave out this page; the cookie of the sign-in goes with each request. */
export const api = createClient(server)

/** The same, told of how much of a body has been sent. */
export const apiTelling = (onSent: (bytes: number, total: number) => void) =>
  createClient({ ...server, fetch: tellingFetch(onSent) })

export const queryClient = new QueryClient({
  defaultOptions: {
    // The client itself tries again what may be tried again.
    queries: { retry: false, staleTime: 5_000, refetchOnWindowFocus: true },
    mutations: { retry: false },
  },
})

const notMe = ({ queryKey }: { queryKey: readonly unknown[] }) => queryKey[0] !== ME[0]

/** Whether the same person is signed in again: then pages stay as they are, and only read anew. */
export async function isBack(before: Me): Promise<boolean> {
  const me = await api.me.get({})
  if (me.kind !== before.kind || me.user !== before.user) return false
  queryClient.setQueryData(ME, me)
  await queryClient.invalidateQueries({ predicate: notMe })
  return true
}

/** Another person is signed in, or nobody: what was read for the one before is forgotten. */
export async function changePerson(signedOut: boolean): Promise<void> {
  const predicate = notMe
  if (signedOut) {
    queryClient.setQueryData(ME, null)
    return queryClient.removeQueries({ predicate })
  }
  queryClient.removeQueries({ predicate, type: "inactive" })
  await queryClient.refetchQueries({ queryKey: ME })
  // A query that a page still shows is not taken from under it: it begins anew.
  await queryClient.resetQueries({ predicate })
}

/** What to tell a person about an error. */
export function explain(error: unknown): string {
  if (error instanceof ConnectionError) return t.errors.offline
  if (error instanceof ApiError) {
    if (error.code === "unauthorized") return t.errors.signedOut
    if (error.status >= 500) return t.errors.server(error.requestId)
    const details = error.details.map((d) => (d.path ? `${d.path}: ${d.message}` : d.message)).join("; ")
    return details ? `${capital(error.message)}: ${details}` : sentence(error.message)
  }
  return t.errors.unknown
}

/** The API's messages begin small and end without a full stop. */
export const sentence = (text: string) => `${capital(text)}.`

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1).replace(/\.$/, "")
}
