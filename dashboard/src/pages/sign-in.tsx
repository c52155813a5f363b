import type { Me } from "@autonomis/contract/platform.ts"
import { isApiError } from "@autonomis/sdk/errors.ts"
import { Alert, Button, PasswordInput, Stack, Text, Title } from "@mantine/core"
import { useMutation } from "@tanstack/react-query"
import { useState } from "react"
import { api, changePerson, explain, isBack } from "../api.ts"
import { t } from "../texts.ts"
import { usePageTitle } from "../ui/page.tsx"
import { forgetUnsaved } from "../ui/unsaved.tsx"

/** The key goes to the server once and comes back as a cookie that no script can read. */
export function SignInPage({
  linkError,
  suspended,
  held,
}: {
  linkError: unknown
  suspended: boolean
  /** Whose page waits with unsaved changes; null: nothing does. */
  held: Me | null
}) {
  const [key, setKey] = useState("")
  const signIn = useMutation({
    mutationFn: () => api.session.create({}, { api_key: key.trim() }),
    onSuccess: async () => {
      setKey("")
      if (held !== null && (await isBack(held))) return
      forgetUnsaved()
      await changePerson(false)
    },
  })
  usePageTitle(t.signIn.title)
  const wrong = signIn.error && isApiError(signIn.error, "unauthorized") ? t.signIn.wrongKey : null
  const error = wrong ?? (signIn.error ? explain(signIn.error) : null)
  return (
    <main className="at-signin">
      <form
        className="at-card at-signin-card"
        onSubmit={(event) => {
          event.preventDefault()
          if (key.trim()) signIn.mutate()
        }}
      >
        <Stack>
          <img src="/favicon.svg" alt="" width={44} height={44} />
          <Title order={1}>{t.signIn.title}</Title>
          <Text c="dimmed">{held ? t.signIn.held : t.signIn.hint}</Text>
          {suspended ? (
            <Alert color="red" variant="light" role="alert" title={t.signIn.suspendedTitle}>
              {t.signIn.suspendedText}
            </Alert>
          ) : null}
          {linkError ? (
            <Alert color="yellow" role="alert" title={t.signIn.linkTitle}>
              {isApiError(linkError, "unauthorized") ? t.signIn.linkUsed : explain(linkError)}
            </Alert>
          ) : null}
          <PasswordInput
            label={t.signIn.key}
            placeholder="atn_…"
            value={key}
            onChange={(e) => setKey(e.currentTarget.value)}
            autoComplete="off"
            spellCheck={false}
            error={error}
            visibilityToggleButtonProps={{ "aria-label": t.signIn.show }}
            autoFocus
          />
          <Button type="submit" loading={signIn.isPending} disabled={!key.trim()}>
            {t.signIn.action}
          </Button>
        </Stack>
      </form>
    </main>
  )
}
