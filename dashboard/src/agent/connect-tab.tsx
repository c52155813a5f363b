import { Alert, Badge, Button, Group, Stack, Tabs, Text, Title } from "@mantine/core"
import { useMutation, useQuery } from "@tanstack/react-query"
import { api } from "../api.ts"
import type { AgentTabProps } from "../pages/agent.tsx"
import { t } from "../texts.ts"
import { Code } from "../ui/code.tsx"
import { CopyField } from "../ui/copy.tsx"
import { Failure, Loaded } from "../ui/states.tsx"
import { TabList } from "../ui/tab-list.tsx"
import { fullTime } from "../ui/time.tsx"

const SNIPPETS = [
  ["curl", "curl"],
  ["python", "Python"],
  ["js", "JavaScript"],
  ["webui", "Open WebUI"],
] as const

export function ConnectTab({ user, agent }: AgentTabProps) {
  const ping = useQuery({
    queryKey: ["ping", user, agent],
    queryFn: ({ signal }) => api.agents.ping({ user, agent }, { signal }),
  })
  const connect = useMutation({ mutationFn: () => api.agents.connect({ user, agent }) })
  const base = `${location.origin}/gateway/${user}/${agent}/v1`
  const { base_url = base, model = agent, token = "$AUTONOMIS_KEY" } = connect.data ?? {}
  return (
    <Stack gap="lg">
      <div className="at-card">
        <Loaded query={ping} rows={1}>
          {(state) => (
            <Group gap="sm">
              <Badge variant="light" color={state.online ? "green" : "red"}>
                {state.online ? t.connect.online : t.connect.offline}
              </Badge>
              <Text size="sm" c="dimmed">
                {t.connect.model[state.model]} · {t.connect.sandbox[state.sandbox]}
              </Text>
            </Group>
          )}
        </Loaded>
      </div>
      <div className="at-card">
        <Stack>
          <div>
            <Title order={2}>{t.connect.title}</Title>
            <Text size="sm" c="dimmed" mt={4} maw={680}>
              {t.connect.text}
            </Text>
          </div>
          {connect.error ? <Failure error={connect.error} /> : null}
          {connect.data ? (
            <Alert color="green" variant="light" title={t.connect.until(fullTime(connect.data.expires_at))}>
              <CopyField text={connect.data.token} label={t.connect.token} />
            </Alert>
          ) : (
            <Button variant="default" w="fit-content" loading={connect.isPending} onClick={() => connect.mutate()}>
              {t.connect.make}
            </Button>
          )}
          <Tabs defaultValue="curl" keepMounted={false}>
            <TabList label={t.connect.snippets} names={SNIPPETS} />
            <Tabs.Panel value="curl" pt="md">
              <Code language="bash" text={curl(base_url, model, token)} />
            </Tabs.Panel>
            <Tabs.Panel value="python" pt="md">
              <Code language="python" text={python(base_url, model, token)} />
            </Tabs.Panel>
            <Tabs.Panel value="js" pt="md">
              <Code language="javascript" text={javascript(base_url, model, token)} />
            </Tabs.Panel>
            <Tabs.Panel value="webui" pt="md">
              <Text size="sm" mb="sm">
                {t.connect.webui}
              </Text>
              <Stack gap="xs">
                <CopyField text={base_url} label={t.connect.baseUrl} />
                <CopyField text={token} label={t.connect.apiKey} />
              </Stack>
            </Tabs.Panel>
          </Tabs>
        </Stack>
      </div>
    </Stack>
  )
}

const curl = (base: string, model: string, token: string) => `curl ${base}/chat/completions \\
  -H "Authorization: Bearer ${token}" \\
  -H "Content-Type: application/json" \\
  -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello"}]}'`

const python = (base: string, model: string, token: string) => `from openai import OpenAI

client = OpenAI(base_url="${base}", api_key="${token}")
answer = client.chat.completions.create(
    model="${model}",
    messages=[{"role": "user", "content": "Hello"}],
)
print(answer.choices[0].message.content)`

const javascript = (base: string, model: string, token: string) => `import OpenAI from "openai"

const client = new OpenAI({ baseURL: "${base}", apiKey: "${token}" })
const answer = await client.chat.completions.create({
  model: "${model}",
  messages: [{ role: "user", content: "Hello" }],
})
console.log(answer.choices[0].message.content)`
