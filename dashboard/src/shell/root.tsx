import { useQuery } from "@tanstack/react-query"
import { useEffect, useState } from "react"
import { api } from "../api.ts"
import { SignInPage } from "../pages/sign-in.tsx"
import { meQuery } from "../queries.ts"
import { Failure, Loading } from "../ui/states.tsx"
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

  if (me.data) return <Shell me={me.data} />
  if (me.data === null) return <SignInPage linkError={linkError} />
  return (
    <main className="at-page">
      {me.error ? <Failure error={me.error} retry={() => me.refetch()} /> : <Loading rows={4} />}
    </main>
  )
}
