import type { Agent } from "@autonomis/contract/agents.ts"
import { Button, Group, NumberInput, SegmentedControl, Stack, Switch, Text, Textarea, Title } from "@mantine/core"
import { useMutation, useQuery } from "@tanstack/react-query"
import { useNavigate } from "@tanstack/react-router"
import { useState } from "react"
import { api, queryClient } from "../api.ts"
import type { AgentTabProps } from "../pages/agent.tsx"
import { routes } from "../paths.ts"
import { agentQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { Confirm } from "../ui/confirm.tsx"
import { ModelPicker } from "../ui/model-picker.tsx"
import { SaveRow } from "../ui/save-row.tsx"
import { Loaded } from "../ui/states.tsx"
import { toast, toastError } from "../ui/toast.ts"
import { useUnsaved } from "../ui/unsaved.tsx"
import { NetworkForm } from "./network-form.tsx"

export function SettingsTab({ user, agent }: AgentTabProps) {
  const query = useQuery(agentQuery(user, agent))
  return (
    <Loaded query={query}>
      {(info) => (
        <Stack gap="lg">
          <ConfigForm key={JSON.stringify(behaviourOf(info))} user={user} agent={info} />
          <NetworkForm user={user} agent={info} keep={(changed) => keep(user, changed)} />
          <DescriptionForm user={user} agent={info} />
          <Danger user={user} agent={info} />
        </Stack>
      )}
    </Loaded>
  )
}

function keep(user: string, agent: Agent) {
  queryClient.setQueryData(agentQuery(user, agent.name).queryKey, agent)
  return queryClient.invalidateQueries({ queryKey: ["agents", user] })
}

/** The network has a form of its own, which saves by itself. */
function behaviourOf({ config: { network, network_allow, network_deny, ...behaviour } }: Agent) {
  return behaviour
}

function ConfigForm({ user, agent }: { user: string; agent: Agent }) {
  const [config, setConfig] = useState(behaviourOf(agent))
  const change = (part: Partial<typeof config>) => setConfig((all) => ({ ...all, ...part }))
  const changed = JSON.stringify(config) !== JSON.stringify(behaviourOf(agent))
  useUnsaved(changed)
  const save = useMutation({
    mutationFn: () => api.agents.configure({ user, agent: agent.name }, config),
    onSuccess: async (answer) => {
      await keep(user, answer)
      toast(t.settings.saved)
    },
  })
  const tools = Object.keys(config.tools) as (keyof typeof config.tools)[]
  return (
    <form
      className="at-card"
      onSubmit={(event) => {
        event.preventDefault()
        save.mutate()
      }}
    >
      <Stack gap="lg">
        <Title order={2}>{t.settings.behaviour}</Title>
        <ModelPicker user={user} value={config.model} onChange={(model) => change({ model })} inUse={agent.model} />
        <div>
          <Text fw={600} size="sm" id="thinking-label">
            {t.settings.thinking}
          </Text>
          <Text size="xs" c="dimmed" mb={6}>
            {t.settings.thinkingHint}
          </Text>
          <SegmentedControl
            aria-labelledby="thinking-label"
            value={config.thinking}
            onChange={(value) => change({ thinking: value as typeof config.thinking })}
            data={(["off", "low", "medium", "high"] as const).map((v) => ({ value: v, label: t.settings.levels[v] }))}
          />
        </div>
        <fieldset className="at-plain-fieldset">
          <legend>{t.settings.tools}</legend>
          <Stack gap="xs">
            {tools.map((tool) => (
              <Switch
                key={tool}
                label={t.settings.toolNames[tool] ?? tool}
                checked={config.tools[tool]}
                onChange={(e) => change({ tools: { ...config.tools, [tool]: e.currentTarget.checked } })}
              />
            ))}
          </Stack>
        </fieldset>
        <Group grow align="flex-start" className="at-wrap-phone">
          <NumberInput
            label={t.settings.maxTurns}
            description={t.settings.maxTurnsHint}
            min={1}
            max={1000}
            value={config.max_turns}
            onChange={(value) => typeof value === "number" && change({ max_turns: value })}
          />
          <NumberInput
            label={t.settings.maxOutput}
            description={t.settings.maxOutputHint}
            min={256}
            max={1_000_000}
            step={1024}
            value={config.max_output_tokens}
            onChange={(value) => typeof value === "number" && change({ max_output_tokens: value })}
          />
        </Group>
        <SaveRow label={t.save} changed={changed} save={save} onDiscard={() => setConfig(behaviourOf(agent))} />
      </Stack>
    </form>
  )
}

function DescriptionForm({ user, agent }: { user: string; agent: Agent }) {
  const [text, setText] = useState(agent.description ?? "")
  const changed = text !== (agent.description ?? "")
  useUnsaved(changed)
  const update = useMutation({
    mutationFn: (body: { description?: string | null; default?: true }) =>
      api.agents.update({ user, agent: agent.name }, body),
    onError: toastError,
    onSuccess: async (answer) => {
      await keep(user, answer)
      toast(t.settings.saved)
    },
  })
  return (
    <form
      className="at-card"
      onSubmit={(event) => {
        event.preventDefault()
        update.mutate({ description: text.trim() || null })
      }}
    >
      <Stack>
        <Title order={2}>{t.settings.about}</Title>
        <Textarea
          label={t.settings.description}
          value={text}
          maxLength={1000}
          autosize
          minRows={2}
          onChange={(e) => setText(e.currentTarget.value)}
        />
        <Group>
          <Button type="submit" variant="default" disabled={!changed} loading={update.isPending}>
            {t.settings.saveDescription}
          </Button>
          {agent.default ? (
            <Text size="sm" c="dimmed">
              {t.settings.isDefault}
            </Text>
          ) : (
            <Button variant="subtle" onClick={() => update.mutate({ default: true })}>
              {t.settings.makeDefault}
            </Button>
          )}
        </Group>
      </Stack>
    </form>
  )
}

function Danger({ user, agent }: { user: string; agent: Agent }) {
  const [asking, setAsking] = useState(false)
  const navigate = useNavigate()
  const remove = useMutation({
    mutationFn: () => api.agents.delete({ user, agent: agent.name }),
    onError: toastError,
    onSuccess: async () => {
      await navigate({ to: routes.agents, params: { user }, ignoreBlocker: true })
      queryClient.removeQueries({ queryKey: ["agent", user, agent.name] })
      await queryClient.invalidateQueries({ queryKey: ["agents", user] })
      toast(t.settings.deleted(agent.name))
    },
  })
  return (
    <section className="at-card at-danger" aria-label={t.settings.danger}>
      <Group justify="space-between">
        <div className="at-grow">
          <Title order={2}>{t.settings.delete}</Title>
          <Text size="sm" c="dimmed" mt={4}>
            {t.settings.deleteHint}
          </Text>
        </div>
        <Button color="red" variant="outline" onClick={() => setAsking(true)}>
          {t.settings.delete}
        </Button>
      </Group>
      <Confirm
        opened={asking}
        title={t.settings.deleteTitle(agent.name)}
        text={t.settings.deleteHint}
        action={t.settings.delete}
        typed={agent.name}
        busy={remove.isPending}
        onClose={() => setAsking(false)}
        onConfirm={() => remove.mutate()}
      />
    </section>
  )
}
