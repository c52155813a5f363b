import { Button, Stack, Text, TextInput, Title } from "@mantine/core"
import { useMutation } from "@tanstack/react-query"
import { useNavigate } from "@tanstack/react-router"
import { useState } from "react"
import { api, explain, queryClient } from "../api.ts"
import { routes } from "../paths.ts"
import { t } from "../texts.ts"
import { CopyField } from "../ui/copy.tsx"
import { usePageTitle } from "../ui/page.tsx"
import { NAME_PATTERN } from "./names.ts"

/** The first start: who are you? That makes the first account; the administrator goes on inside it. */
export function WelcomePage() {
  const [made, setMade] = useState<{ user: string; key: string } | null>(null)
  usePageTitle(t.welcome.title)
  return (
    <div className="at-page at-narrow">
      <div className="at-card">
        {made === null ? <NameForm onMade={setMade} /> : <KeepKey user={made.user} apiKey={made.key} />}
      </div>
    </div>
  )
}

function NameForm({ onMade }: { onMade: (made: { user: string; key: string }) => void }) {
  const [display, setDisplay] = useState("")
  const [name, setName] = useState<string | null>(null)
  const user = name ?? suggestion(display)
  const create = useMutation({
    mutationFn: () => api.users.create({}, { user, ...(display.trim() ? { display_name: display.trim() } : {}) }),
    onSuccess: (answer) => {
      onMade({ user: answer.user, key: answer.api_key })
      return queryClient.invalidateQueries({ queryKey: ["users"] })
    },
  })
  const wrong = user !== "" && !NAME_PATTERN.test(user) ? t.names.rule : null
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (user && !wrong) create.mutate()
      }}
    >
      <Stack>
        <Title order={1}>{t.welcome.title}</Title>
        <Text c="dimmed">{t.welcome.text}</Text>
        <TextInput
          label={t.welcome.displayName}
          placeholder="Ada Lovelace"
          value={display}
          onChange={(e) => setDisplay(e.currentTarget.value)}
          maxLength={200}
          autoFocus
        />
        <TextInput
          label={t.welcome.userName}
          description={t.names.rule}
          placeholder="ada"
          value={user}
          onChange={(e) => setName(e.currentTarget.value)}
          error={wrong ?? (create.error ? explain(create.error) : null)}
          autoComplete="off"
          spellCheck={false}
        />
        <Button type="submit" loading={create.isPending} disabled={!user || wrong !== null}>
          {t.welcome.action}
        </Button>
      </Stack>
    </form>
  )
}

/** `Ada Lovelace` becomes `ada`. */
function suggestion(display: string): string {
  const plain = display.normalize("NFKD").toLowerCase()
  return (plain.match(/[a-z0-9]+/)?.[0] ?? "").slice(0, 40)
}

function KeepKey({ user, apiKey }: { user: string; apiKey: string }) {
  const navigate = useNavigate()
  return (
    <Stack>
      <Title order={1}>{t.welcome.hello(user)}</Title>
      <Text c="dimmed">{t.welcome.keepKey}</Text>
      <CopyField text={apiKey} label={t.welcome.key} />
      <Button onClick={() => navigate({ to: routes.newAgents, params: { user } })}>{t.welcome.next}</Button>
    </Stack>
  )
}
