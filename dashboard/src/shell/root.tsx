import type { Me } from "@autonomis/contract/platform.ts"
import { isApiError } from "@autonomis/sdk/errors.ts"
import { useQuery } from "@tanstack/react-query"
import { useNavigate } from "@tanstack/react-router"
import { useEffect, useRef, useState } from "react"
import { api, changePerson } from "../api.ts"
import { SignInPage } from "../pages/sign-in.tsx"
import { routes } from "../paths.ts"
import { meQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { Failure, Loading } from "../ui/states.tsx"
import { toast } from "../ui/toast.ts"
import { useHasUnsaved } from "../ui/unsaved.tsx"
import { comeBack, lookingAt } from "./looking.ts"
import { Shell } from "./shell.tsx"

/** A one-time link bears its token behind `#`, where no server and no log sees it. Taken out of the address at once. */
function takeToken(): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get("token")
  if (token !== null) history.replaceState(history.state, "", location.pathname + location.search)
  return token
}
const linkToken = takeToken()

/** The sign-in form stands in for any page, so that a deep link goes on where it points once signed in. */
export function Root() {
  const [token, setToken] = useState(linkToken)
  const [linkError, setLinkError] = useState<unknown>(null)
  const me = useQuery({ ...meQuery, enabled: token === null })

  useEffect(() => {
    if (token === null) return
    const signIn = async () => {
      try {
        await api.session.create({}, { token })
      } catch (error) {
        setLinkError(error)
      }
      setToken(null)
    }
    void signIn()
  }, [token])

  const suspended = isApiError(me.error, "suspended")
  const looking = lookingAt()
  const last = useRef<Me | null>(null)
  if (me.data) last.current = me.data
  const hasUnsaved = useHasUnsaved()
  // The sign-in has ended in the middle of a form: the page waits behind the sign-in with what was typed.
  const held = me.data === null && looking === null && hasUnsaved ? last.current : null
  const shown = me.data ?? held
  if (shown)
    return (
      <>
        <div hidden={held !== null}>
          <Shell me={shown} />
        </div>
        {held ? <SignInPage linkError={null} suspended={false} held={held} /> : null}
      </>
    )
  if ((me.data === null || suspended) && looking !== null) return <ComeBack user={looking} />
  if (me.data === null || suspended) return <SignInPage linkError={linkError} suspended={suspended} held={null} />
  return (
    <main className="at-page">
      {me.error ? <Failure error={me.error} retry={() => me.refetch()} /> : <Loading rows={4} />}
    </main>
  )
}

/** The hour in somebody's account is over, or the account is closed: on as the administrator, without a new sign-in. */
function ComeBack({ user }: { user: string }) {
  const navigate = useNavigate()
  const [error, setError] = useState<unknown>(null)
  const [attempt, setAttempt] = useState(0)
  // biome-ignore lint/correctness/useExhaustiveDependencies: each attempt is one request
  useEffect(() => {
    const back = async () => {
      const isAdmin = await comeBack()
      await changePerson(!isAdmin)
      if (!isAdmin) return
      await navigate({ to: routes.adminUser, params: { user } })
      toast(t.nav.cameBack(user))
    }
    back().catch(setError)
  }, [attempt])
  return (
    <main className="at-page">
      {error ? (
        <Failure
          error={error}
          retry={() => {
            setError(null)
            setAttempt((n) => n + 1)
          }}
        />
      ) : (
        <Loading rows={4} />
      )}
    </main>
  )
}
