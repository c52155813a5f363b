import { ActionIcon, Button, Group, Radio, Stack, Text, TextInput } from "@mantine/core"
import { useMutation, useQuery } from "@tanstack/react-query"
import { useNavigate, useParams } from "@tanstack/react-router"
import { useState } from "react"
import { api, explain, queryClient } from "../api.ts"
import { routes } from "../paths.ts"
import { agentsQuery } from "../queries.ts"
import { STARTING_POINTS, type StartingPoint } from "../starting-points.ts"
import { t } from "../texts.ts"
import { CopyField } from "../ui/copy.tsx"
import { DeployTimeline } from "../ui/deploy-timeline.tsx"
import { Icon } from "../ui/icon.tsx"
import { Page } from "../ui/page.tsx"
import { useUnsaved } from "../ui/unsaved.tsx"
import { NAME_PATTERN } from "./names.ts"

interface Row {
  key: number
  name: string
  start: StartingPoint["id"]
}
type Made = { name: string; api_key: string }

/** One agent or many at once, each from a starting point. */
export function NewAgentsPage() {
  const { user } = useParams({ from: routes.newAgents })
  const [made, setMade] = useState<Made[] | null>(null)
  const first = useQuery(agentsQuery(user)).data?.length === 0
  return (
    <Page title={made ? t.newAgents.made(made.length) : t.newAgents.title} hint={made ? null : t.newAgents.hint}>
      {made ? <Ready user={user} made={made} /> : <NewAgentsForm user={user} first={first} onMade={setMade} />}
    </Page>
  )
}

function NewAgentsForm({ user, first, onMade }: { user: string; first: boolean; onMade: (made: Made[]) => void }) {
  const [rows, setRows] = useState<Row[]>([{ key: 0, name: "", start: "assistant" }])
  const named = rows.map((row) => ({ ...row, name: row.name || (first && rows.length === 1 ? "manager" : "") }))
  const create = useMutation({
    mutationFn: () =>
      api.agents.create(
        { user },
        {
          agents: named.map(({ name, start }) => {
            const point = STARTING_POINTS.find((p) => p.id === start)
            return {
              name,
              ...(point?.description ? { description: point.description } : {}),
              ...(point ? { templates: point.templates } : {}),
            }
          }),
        },
      ),
    onSuccess: async ({ agents }) => {
      onMade(agents)
      await queryClient.invalidateQueries({ queryKey: ["agents", user] })
    },
  })
  useUnsaved(!create.isSuccess && rows.some((row) => row.name !== ""))
  const change = (key: number, part: Partial<Row>) =>
    setRows((all) => all.map((row) => (row.key === key ? { ...row, ...part } : row)))
  const faults = named.map(({ name }, i) => fault(name, named.slice(0, i)))
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (faults.every((f) => f === null) && named.every((row) => row.name)) create.mutate()
      }}
    >
      <Stack gap="lg">
        {rows.map((row, i) => (
          <fieldset key={row.key} className="at-card at-fieldset">
            <legend className="at-hidden">{t.newAgents.agent(i + 1)}</legend>
            <Group align="flex-end" wrap="nowrap" mb="md">
              <TextInput
                className="at-grow"
                label={t.newAgents.name}
                placeholder={first && rows.length === 1 ? "manager" : t.newAgents.namePlaceholder}
                description={t.names.rule}
                value={row.name}
                error={row.name ? faults[i] : null}
                onChange={(e) => change(row.key, { name: e.currentTarget.value.toLowerCase() })}
                autoComplete="off"
                spellCheck={false}
              />
              {rows.length > 1 ? (
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  size="lg"
                  aria-label={t.newAgents.remove(i + 1)}
                  onClick={() => setRows((all) => all.filter((r) => r.key !== row.key))}
                >
                  <Icon name="close" />
                </ActionIcon>
              ) : null}
            </Group>
            <StartingPoints value={row.start} onChange={(start) => change(row.key, { start })} />
          </fieldset>
        ))}
        {create.error ? (
          <Text c="var(--mantine-color-error)" role="alert">
            {explain(create.error)}
          </Text>
        ) : null}
        <Group>
          <Button type="submit" loading={create.isPending} disabled={named.some((row) => !row.name)}>
            {rows.length === 1 ? t.newAgents.create : t.newAgents.createMany(rows.length)}
          </Button>
          <Button
            variant="default"
            leftSection={<Icon name="plus" size={16} />}
            onClick={() => setRows((all) => [...all, { key: Date.now(), name: "", start: "assistant" }])}
          >
            {t.newAgents.another}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}

function fault(name: string, before: readonly { name: string }[]): string | null {
  if (name && !NAME_PATTERN.test(name)) return t.names.rule
  return name && before.some((other) => other.name === name) ? t.newAgents.twice : null
}

function StartingPoints({
  value,
  onChange,
}: {
  value: StartingPoint["id"]
  onChange: (id: StartingPoint["id"]) => void
}) {
  return (
    <Radio.Group label={t.newAgents.start} value={value} onChange={(id) => onChange(id as StartingPoint["id"])}>
      <div className="at-choices">
        {STARTING_POINTS.map((point) => (
          <Radio.Card key={point.id} value={point.id} className="at-choice" aria-label={point.title}>
            <Group wrap="nowrap" align="flex-start" gap="sm">
              <Radio.Indicator />
              <div>
                <Text fw={600}>{point.title}</Text>
                <Text size="sm" c="dimmed">
                  {point.text}
                </Text>
              </div>
            </Group>
          </Radio.Card>
        ))}
      </div>
    </Radio.Group>
  )
}

function Ready({ user, made }: { user: string; made: Made[] }) {
  const navigate = useNavigate()
  const [first] = made
  return (
    <Stack gap="lg">
      <div className="at-card">
        <DeployTimeline user={user} agents={made.map((m) => m.name)} />
      </div>
      {first ? (
        <Group>
          <Button
            size="md"
            leftSection={<Icon name="chat" />}
            onClick={() => navigate({ to: routes.chatAgent, params: { user, agent: first.name } })}
          >
            {t.newAgents.talk(first.name)}
          </Button>
        </Group>
      ) : null}
      <details className="at-card">
        <summary>{t.newAgents.keys}</summary>
        <Stack mt="md" gap="sm">
          <Text size="sm" c="dimmed">
            {t.newAgents.keysHint}
          </Text>
          {made.map((m) => (
            <div key={m.name}>
              <Text fw={600} size="sm" mb={4}>
                {m.name}
              </Text>
              <CopyField text={m.api_key} label={t.keys.keyOf(m.name)} />
            </div>
          ))}
        </Stack>
      </details>
    </Stack>
  )
}
