import { Alert, Button, Group, NativeSelect, PasswordInput, Stack, Text, Title } from "@mantine/core"
import { useMutation } from "@tanstack/react-query"
import { useState } from "react"
import { api, explain, queryClient } from "../api.ts"
import { modelsQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { useUnsaved } from "../ui/unsaved.tsx"

/** The providers most people have a key of; others go by the rows above. */
const PROVIDERS = [
  { key: "ANTHROPIC_API_KEY", id: "anthropic", label: "Anthropic" },
  { key: "OPENAI_API_KEY", id: "openai", label: "OpenAI" },
  { key: "GEMINI_API_KEY", id: "google", label: "Google Gemini" },
  { key: "OPENROUTER_API_KEY", id: "openrouter", label: "OpenRouter" },
  { key: "MISTRAL_API_KEY", id: "mistral", label: "Mistral" },
  { key: "DEEPSEEK_API_KEY", id: "deepseek", label: "DeepSeek" },
  { key: "XAI_API_KEY", id: "xai", label: "xAI" },
  { key: "GROQ_API_KEY", id: "groq", label: "Groq" },
] as const

/** From the demo model to a real one: a provider's key, stored and tried at once. */
export function ModelKey({ user, known }: { user: string; known: readonly string[] }) {
  const [key, setKey] = useState<string>(PROVIDERS[0].key)
  const [value, setValue] = useState("")
  useUnsaved(value.trim() !== "")
  const provider = PROVIDERS.find((p) => p.key === key) ?? PROVIDERS[0]
  const stored = known.includes(key)
  const test = useMutation({
    mutationFn: async () => {
      if (value.trim()) await api.secrets.put({ user }, { secrets: { [key]: value.trim() } })
      setValue("")
      await queryClient.invalidateQueries({ queryKey: ["secrets", user] })
      await queryClient.invalidateQueries({ queryKey: ["models", user] })
      await queryClient.invalidateQueries({ queryKey: ["agents", user] })
      const models = await queryClient.fetchQuery({ ...modelsQuery(user), staleTime: 0 })
      const cheapest = models
        .filter((m) => m.provider === provider.id)
        .sort((a, b) => a.price.input - b.price.input || a.id.localeCompare(b.id))[0]
      if (cheapest === undefined) return { ok: false, error: t.modelKey.noModels, model: "", latency_ms: 0 }
      return { ...(await api.models.test({ user }, { model: cheapest.id })), model: cheapest.id }
    },
  })
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (value.trim() || stored) test.mutate()
      }}
    >
      <Stack>
        <div>
          <Title order={2}>{t.modelKey.title}</Title>
          <Text size="sm" c="dimmed" mt={4} maw={680}>
            {t.modelKey.text}
          </Text>
        </div>
        <Group align="flex-end" className="at-wrap-phone">
          <NativeSelect
            label={t.modelKey.provider}
            value={key}
            onChange={(e) => {
              setKey(e.currentTarget.value)
              test.reset()
            }}
            data={PROVIDERS.map((p) => ({ value: p.key, label: p.label }))}
          />
          <PasswordInput
            className="at-grow"
            label={t.modelKey.key(provider.label)}
            placeholder={stored ? t.modelKey.stored : ""}
            value={value}
            onChange={(e) => setValue(e.currentTarget.value)}
            autoComplete="off"
            visibilityToggleButtonProps={{ "aria-label": t.signIn.show }}
          />
          <Button type="submit" loading={test.isPending} disabled={!value.trim() && !stored}>
            {value.trim() ? t.modelKey.saveAndTest : t.modelKey.test}
          </Button>
        </Group>
        {test.error ? (
          <Alert color="red" variant="light" role="alert">
            {explain(test.error)}
          </Alert>
        ) : null}
        {test.data ? (
          <Alert color={test.data.ok ? "green" : "red"} variant="light" role="status">
            {test.data.ok
              ? t.modelKey.works(test.data.model, Math.round(test.data.latency_ms))
              : t.modelKey.fails(test.data.error ?? t.errors.unknown)}
          </Alert>
        ) : null}
      </Stack>
    </form>
  )
}
