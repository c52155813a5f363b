import type { Secret } from "@autonomis/contract/secrets.ts"
import { ActionIcon, Badge, Group, Stack, Table } from "@mantine/core"
import { useMutation, useQuery } from "@tanstack/react-query"
import { useParams, useSearch } from "@tanstack/react-router"
import { useState } from "react"
import { api, queryClient } from "../api.ts"
import { routes } from "../paths.ts"
import { secretsQuery } from "../queries.ts"
import { ModelKey } from "../secrets/model-key.tsx"
import { SecretsForm } from "../secrets/secrets-form.tsx"
import { t } from "../texts.ts"
import { Confirm } from "../ui/confirm.tsx"
import { Icon } from "../ui/icon.tsx"
import { Page } from "../ui/page.tsx"
import { Loaded } from "../ui/states.tsx"
import { Ago } from "../ui/time.tsx"
import { toast, toastError } from "../ui/toast.ts"

export function SecretsPage() {
  const { user } = useParams({ from: routes.secrets })
  const { add = "" }: { add?: string } = useSearch({ strict: false })
  const secrets = useQuery(secretsQuery(user))
  return (
    <Page title={t.nav.secrets} hint={t.secrets.hint}>
      <Stack gap="lg">
        <Loaded query={secrets}>
          {(list) => (list.length === 0 ? null : <SecretTable user={user} secrets={list} />)}
        </Loaded>
        <div className="at-card">
          <SecretsForm key={add} user={user} wanted={add} known={secrets.data?.map((s) => s.key) ?? []} />
        </div>
        <div className="at-card">
          <ModelKey user={user} known={secrets.data?.map((s) => s.key) ?? []} />
        </div>
      </Stack>
    </Page>
  )
}

function SecretTable({ user, secrets }: { user: string; secrets: readonly Secret[] }) {
  const [deleting, setDeleting] = useState<string | null>(null)
  const remove = useMutation({
    mutationFn: (key: string) => api.secrets.delete({ user, key }),
    onError: toastError,
    onSuccess: async (_, key) => {
      setDeleting(null)
      toast(t.secrets.deleted(key))
      await queryClient.invalidateQueries({ queryKey: ["secrets", user] })
      await queryClient.invalidateQueries({ queryKey: ["models", user] })
    },
  })
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
    <section className="at-card at-table-card at-table-wide at-table-stack" tabIndex={0} aria-label={t.secrets.stored}>
      <Table verticalSpacing="sm">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>{t.secrets.key}</Table.Th>
            <Table.Th>{t.secrets.value}</Table.Th>
            <Table.Th>{t.secrets.usedBy}</Table.Th>
            <Table.Th>{t.secrets.updated}</Table.Th>
            <Table.Th>
              <span className="at-hidden">{t.actions}</span>
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {secrets.map((secret) => (
            <Table.Tr key={secret.key}>
              <Table.Td>
                <code className="at-key">{secret.key}</code>
              </Table.Td>
              <Table.Td>
                <Group gap={6} wrap="nowrap">
                  <span aria-hidden>••••••••</span>
                  <span className="at-hidden">{t.secrets.hidden}</span>
                  {secret.masked ? null : (
                    <Badge color="yellow" variant="light" title={t.secrets.shortHint}>
                      {t.secrets.short}
                    </Badge>
                  )}
                </Group>
              </Table.Td>
              <Table.Td data-label={t.secrets.usedBy}>{usedBy(secret)}</Table.Td>
              <Table.Td data-label={t.secrets.updated}>
                <Ago time={secret.updated_at} />
              </Table.Td>
              <Table.Td ta="right">
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  aria-label={t.secrets.deleteOne(secret.key)}
                  onClick={() => setDeleting(secret.key)}
                >
                  <Icon name="trash" size={16} />
                </ActionIcon>
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      <Confirm
        opened={deleting !== null}
        title={t.secrets.deleteTitle(deleting ?? "")}
        text={t.secrets.deleteText}
        action={t.delete}
        busy={remove.isPending}
        onClose={() => setDeleting(null)}
        onConfirm={() => deleting !== null && remove.mutate(deleting)}
      />
    </section>
  )
}

function usedBy({ key, agents }: Secret): string {
  if (isModelKey(key)) return t.secrets.byRuntime
  return agents === null ? t.secrets.everyAgent : agents.join(", ")
}

/** Keys of model providers are used by the platform and not put into sandboxes. */
function isModelKey(key: string): boolean {
  return MODEL_KEYS.has(key)
}
const MODEL_KEYS = new Set([
  "ANTHROPIC_API_KEY",
  "OPENAI_API_KEY",
  "GEMINI_API_KEY",
  "OPENROUTER_API_KEY",
  "MISTRAL_API_KEY",
  "DEEPSEEK_API_KEY",
  "XAI_API_KEY",
  "GROQ_API_KEY",
])
