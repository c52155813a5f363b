import type { Me } from "@autonomis/contract/platform.ts"
import { useQuery } from "@tanstack/react-query"
import { useParams } from "@tanstack/react-router"
import { useEffect } from "react"
import { startQuery } from "../queries.ts"

const LAST_USER = "autonomis.last-user"

/** A name, no key: which account an administrator looked at last. */
export const lastUser = () => localStorage.getItem(LAST_USER)

/** Whose pages the main navigation leads to; null on a platform without users. */
export function useCurrentUser(me: Me): string | null {
  const params: { user?: string } = useParams({ strict: false })
  const start = useQuery({ ...startQuery(lastUser()), enabled: me.kind === "admin" && params.user === undefined }).data
  const current = params.user ?? me.user ?? start?.known ?? start?.first ?? null
  useEffect(() => {
    if (me.kind === "admin" && params.user !== undefined) localStorage.setItem(LAST_USER, params.user)
  }, [me.kind, params.user])
  return current
}
