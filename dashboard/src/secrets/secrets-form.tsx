import { ActionIcon, Button, Group, MultiSelect, PasswordInput, Stack, Text, TextInput, Title } from "@mantine/core"
import { useMutation, useQuery } from "@tanstack/react-query"
import { type ClipboardEvent, useState } from "react"
import { api, explain, queryClient } from "../api.ts"
import { agentsQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { Icon } from "../ui/icon.tsx"
import { toast } from "../ui/toast.ts"
import { useUnsaved } from "../ui/unsaved.tsx"
import { looksLikeDotenv, parseDotenv } from "./dotenv.ts"

interface Row {
  id: number
  key: string
  value: string
  agents: string[]
}
let next = 0
const empty = (): Row => ({ id: next++, key: "", value: "", agents: [] })
const KEY = /^[A-Z_][A-Z0-9_]{0,127}$/

/** Rows to fill in, or a `.env` to paste into any of them; all are stored together. */
export function SecretsForm({
  user,
  known,
  wanted,
}: {
  user: string
  known: readonly string[]
  /** The name of one that is missing somewhere: only its value is left to be filled in. */
  wanted: string
}) {
  const [rows, setRows] = useState<Row[]>(() => [{ ...empty(), key: wanted.toUpperCase() }])
  const agents = useQuery(agentsQuery(user)).data ?? []
  const filled = rows.filter((row) => row.key || row.value)
  useUnsaved(filled.some((row) => row.value !== "" || row.key !== wanted.toUpperCase()))
  const faults = new Map(filled.map((row) => [row.id, faultOf(row, filled)]))
  const save = useMutation({
    mutationFn: () =>
      api.secrets.put(
        { user },
        {
          secrets: filled.map(({ key, value, agents: only }) => ({
            key,
            value,
            ...(only.length > 0 ? { agents: only } : {}),
          })),
        },
      ),
    onSuccess: async () => {
      toast(t.secrets.saved(filled.length))
      setRows([empty()])
      await queryClient.invalidateQueries({ queryKey: ["secrets", user] })
      await queryClient.invalidateQueries({ queryKey: ["models", user] })
      // One may have been what a skill was missing.
      await queryClient.invalidateQueries({ queryKey: ["skills", user] })
    },
  })
  const change = (id: number, part: Partial<Row>) =>
    setRows((all) => all.map((row) => (row.id === id ? { ...row, ...part } : row)))
  const onPaste = (event: ClipboardEvent, row: Row) => {
    const text = event.clipboardData.getData("text")
    const isKeyField = event.currentTarget.getAttribute("data-field") === "key"
    if (!(isKeyField ? looksLikeDotenv(text) : text.includes("\n") && parseDotenv(text).length > 1)) return
    event.preventDefault()
    const pasted = parseDotenv(text).map(({ key, value }) => ({ ...empty(), key: key.toUpperCase(), value }))
    setRows((all) =>
      all.flatMap((r) => (r.id === row.id && !r.key && !r.value ? pasted : r.id === row.id ? [r, ...pasted] : [r])),
    )
  }
  const bad = filled.some((row) => faults.get(row.id) !== null)
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (filled.length > 0 && !bad) save.mutate()
      }}
    >
      <Stack>
        <div>
          <Title order={2}>{t.secrets.add}</Title>
          <Text size="sm" c="dimmed" mt={4}>
            {t.secrets.addHint}
          </Text>
        </div>
        {rows.map((row, i) => (
          <div key={row.id} className="at-secret-row">
            <TextInput
              aria-label={t.secrets.keyOf(i + 1)}
              placeholder="GITHUB_TOKEN"
              value={row.key}
              data-field="key"
              onChange={(e) => change(row.id, { key: e.currentTarget.value.toUpperCase() })}
              onPaste={(e) => onPaste(e, row)}
              error={row.key && (row.value || row.key !== wanted.toUpperCase()) ? faults.get(row.id) : null}
              description={known.includes(row.key) ? t.secrets.replaces : undefined}
              inputWrapperOrder={["input", "description", "error"]}
              autoComplete="off"
              spellCheck={false}
              classNames={{ input: "at-mono" }}
            />
            <PasswordInput
              aria-label={t.secrets.valueOf(i + 1)}
              placeholder={t.secrets.value}
              value={row.value}
              data-field="value"
              autoFocus={wanted !== "" && i === 0}
              onChange={(e) => change(row.id, { value: e.currentTarget.value })}
              onPaste={(e) => onPaste(e, row)}
              autoComplete="new-password"
              visibilityToggleButtonProps={{ "aria-label": t.signIn.show }}
            />
            <MultiSelect
              aria-label={t.secrets.agentsOf(i + 1)}
              placeholder={row.agents.length === 0 ? t.secrets.everyAgent : undefined}
              value={row.agents}
              onChange={(value) => change(row.id, { agents: value })}
              data={agents.map((a) => a.name)}
              clearable={false}
            />
            <ActionIcon
              variant="subtle"
              color="gray"
              size="lg"
              aria-label={t.secrets.removeRow(i + 1)}
              onClick={() => setRows((all) => (all.length > 1 ? all.filter((r) => r.id !== row.id) : [empty()]))}
            >
              <Icon name="close" size={16} />
            </ActionIcon>
          </div>
        ))}
        {save.error ? (
          <Text size="sm" c="var(--mantine-color-error)" role="alert">
            {explain(save.error)}
          </Text>
        ) : null}
        <Group>
          <Button
            variant="default"
            leftSection={<Icon name="plus" size={16} />}
            onClick={() => setRows((all) => [...all, empty()])}
          >
            {t.secrets.addRow}
          </Button>
          <Button type="submit" loading={save.isPending} disabled={filled.length === 0 || bad}>
            {t.secrets.saveAll}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}

function faultOf(row: Row, all: readonly Row[]): string | null {
  if (!KEY.test(row.key)) return t.secrets.badKey
  if (all.some((other) => other.id !== row.id && other.key === row.key)) return t.secrets.duplicate
  return row.value ? null : t.secrets.noValue
}
