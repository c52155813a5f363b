import { Alert, Badge, Button, Group, Stack, Switch, Table, Text, Title } from "@mantine/core"
import { useMutation, useQuery } from "@tanstack/react-query"
import { api, queryClient } from "../api.ts"
import { statusQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { Figure } from "../ui/figure.tsx"
import { bytes } from "../ui/format.ts"
import { Loaded } from "../ui/states.tsx"
import { Ago } from "../ui/time.tsx"
import { toastError } from "../ui/toast.ts"

export function HealthTab() {
  const status = useQuery(statusQuery)
  const pause = useMutation({
    mutationFn: (paused: boolean) => api.platform.pause({}, { paused }),
    onError: toastError,
    onSuccess: () => queryClient.invalidateQueries({ queryKey: statusQuery.queryKey }),
  })
  return (
    <Loaded query={status}>
      {(data) => (
        <Stack gap="lg">
          {data.paused ? (
            <Alert color="yellow" variant="light" title={t.health.pausedTitle}>
              {t.health.pausedText}
            </Alert>
          ) : null}
          <div className="at-figures">
            <Figure label={t.health.runs} value={String(data.runs)} />
            <Figure label={t.health.sandboxes} value={String(data.sandboxes_open)} />
            <Figure label={t.health.database} value={t.health.databases[data.database] ?? data.database} />
            <Figure label={t.health.version} value={data.version}>
              <Text size="sm" c="dimmed">
                {t.health.started} <Ago time={data.started_at} />
              </Text>
            </Figure>
          </div>
          <section className="at-card" aria-label={t.health.pause}>
            <Group justify="space-between">
              <div className="at-grow">
                <Title order={2}>{t.health.pause}</Title>
                <Text size="sm" c="dimmed" mt={4}>
                  {t.health.pauseHint}
                </Text>
              </div>
              <Switch
                label={t.health.pauseSwitch}
                checked={pause.isPending ? pause.variables : data.paused}
                onChange={(e) => pause.mutate(e.currentTarget.checked)}
              />
            </Group>
          </section>
          <section className="at-card" aria-label={t.health.sandbox}>
            <Title order={2}>{t.health.sandbox}</Title>
            <Text mt={4}>{data.sandbox.driver}</Text>
            {data.sandbox.driver === "none" ? (
              <Alert color="red" variant="light" mt="sm" title={t.health.unsandboxedTitle}>
                {t.health.unsandboxed}
              </Alert>
            ) : (
              <Text size="sm" c="dimmed" mt="sm">
                {data.sandbox.holds.length > 0 ? t.health.holds : t.health.holdsNothing}
              </Text>
            )}
            <Group gap={6} mt={6}>
              {data.sandbox.holds.map((held) => (
                <Badge key={held} variant="light" color="green">
                  {held}
                </Badge>
              ))}
            </Group>
            <Text size="sm" c="dimmed" mt="sm">
              {t.health.egress(
                data.sandbox.egress.connections,
                bytes(data.sandbox.egress.bytes_out),
                bytes(data.sandbox.egress.bytes_in),
                data.sandbox.egress.refused,
              )}
            </Text>
          </section>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
          <section className="at-card at-table-card" tabIndex={0} aria-label={t.health.providers}>
            <Group justify="space-between" mb="sm">
              <Title order={2}>{t.health.providers}</Title>
              <Button size="xs" variant="default" onClick={() => status.refetch()}>
                {t.files.refresh}
              </Button>
            </Group>
            {data.providers.length === 0 ? (
              <Text c="dimmed">{t.health.noProviders}</Text>
            ) : (
              <Table>
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th>{t.modelKey.provider}</Table.Th>
                    <Table.Th>{t.health.key}</Table.Th>
                    <Table.Th ta="right">{t.health.errors}</Table.Th>
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {data.providers.map((provider) => (
                    <Table.Tr key={provider.name}>
                      <Table.Td>{provider.name}</Table.Td>
                      <Table.Td>{provider.key ? t.health.hasKey : t.health.noKey}</Table.Td>
                      <Table.Td ta="right">{provider.errors_last_hour}</Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
            )}
          </section>
        </Stack>
      )}
    </Loaded>
  )
}
