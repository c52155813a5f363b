import type { Agent, AgentConfig } from "@autonomis/contract/agents.ts"
import type { Limits } from "@autonomis/contract/plans.ts"
import { Radio, SimpleGrid, Stack, Text, Textarea, Title } from "@mantine/core"
import { useMutation, useQuery } from "@tanstack/react-query"
import { useState } from "react"
import { api } from "../api.ts"
import { userQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { SaveRow } from "../ui/save-row.tsx"
import { toast } from "../ui/toast.ts"
import { useUnsaved } from "../ui/unsaved.tsx"

type Network = AgentConfig["network"]

interface Fields {
  network: Network
  /** One domain a line. */
  allow: string
  deny: string
}

const fieldsOf = ({ network, network_allow, network_deny }: AgentConfig): Fields => ({
  network,
  allow: (network_allow ?? []).join("\n"),
  deny: network_deny.join("\n"),
})

const domainsOf = (text: string) => text.split(/[\s,;]+/).filter((name) => name !== "")

/** What the agent's commands may reach. `keep` takes the agent as it is after a change. */
export function NetworkForm({
  user,
  agent,
  keep,
}: {
  user: string
  agent: Agent
  keep: (agent: Agent) => Promise<unknown>
}) {
  const [fields, setFields] = useState(fieldsOf(agent.config))
  const plan = useQuery(userQuery(user)).data?.limits.sandbox.network
  const change = (part: Partial<Fields>) => setFields((all) => ({ ...all, ...part }))
  const changed = JSON.stringify(fields) !== JSON.stringify(fieldsOf(agent.config))
  useUnsaved(changed)
  const save = useMutation({
    mutationFn: () => {
      const allow = domainsOf(fields.allow)
      return api.agents.configure(
        { user, agent: agent.name },
        {
          network: fields.network,
          network_allow: allow.length === 0 ? null : allow,
          network_deny: domainsOf(fields.deny),
        },
      )
    },
    onSuccess: async (answer) => {
      setFields(fieldsOf(answer.config))
      await keep(answer)
      toast(t.network.saved)
    },
  })
  const domains = (name: "allow" | "deny") => (
    <Textarea
      label={t.network[name]}
      description={t.network[`${name}Hint`]}
      placeholder={t.network.placeholder}
      value={fields[name]}
      autosize
      minRows={2}
      maxRows={10}
      spellCheck={false}
      onChange={(e) => change({ [name]: e.currentTarget.value })}
    />
  )
  return (
    <form
      className="at-card"
      onSubmit={(event) => {
        event.preventDefault()
        save.mutate()
      }}
    >
      <Stack gap="lg">
        <Title order={2}>{t.network.title}</Title>
        <Radio.Group
          label={t.network.reach}
          value={fields.network}
          onChange={(value) => change({ network: value === "egress" ? "egress" : "none" })}
        >
          <Stack gap="xs" mt="xs">
            <Radio value="none" label={t.network.none} description={t.network.noneHint} />
            <Radio
              value="egress"
              label={t.network.egress}
              description={plan?.allowed === false ? t.network.notInPlan : t.network.egressHint}
              disabled={plan?.allowed === false && agent.config.network === "none"}
            />
          </Stack>
        </Radio.Group>
        {fields.network === "egress" ? (
          <>
            <SimpleGrid cols={{ base: 1, sm: 2 }}>
              {domains("allow")}
              {domains("deny")}
            </SimpleGrid>
            <Text size="xs" c="dimmed">
              {t.network.always}
              {planInWords(plan)}
            </Text>
          </>
        ) : null}
        <SaveRow
          label={t.network.save}
          changed={changed}
          save={save}
          onDiscard={() => setFields(fieldsOf(agent.config))}
        />
      </Stack>
    </form>
  )
}

function planInWords(plan: Limits["sandbox"]["network"]): string {
  const allow = plan?.allow ? ` ${t.network.planAllows(plan.allow.join(", "))}` : ""
  const deny = plan?.deny?.length ? ` ${t.network.planDenies(plan.deny.join(", "))}` : ""
  return allow + deny
}
