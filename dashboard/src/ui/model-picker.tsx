import type { Model } from "@autonomis/contract/models.ts"
import { Alert, Button, Group, Select, Stack, Text } from "@mantine/core"
import { useMutation, useQuery } from "@tanstack/react-query"
import { api } from "../api.ts"
import { modelsQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { compact, usd } from "./format.ts"
import { toastError } from "./toast.ts"

/** The models with their prices, those that can be used now first; a button tries the one that is chosen. */
export function ModelPicker({
  user,
  value,
  onChange,
  inUse,
}: {
  user: string
  /** Null: the platform's default. */
  value: string | null
  onChange: (model: string | null) => void
  /** What a message would use now. */
  inUse: string
}) {
  const models = useQuery(modelsQuery(user)).data ?? []
  const chosen = value ?? inUse
  const known = models.find((m) => m.id === chosen)
  const usable = models.filter((m) => m.available)
  const others = models.filter((m) => !m.available)
  const option = (m: Model) => ({ value: m.id, label: `${m.id}  ${priceOf(m)}` })
  const missing = value !== null && known === undefined ? [{ value, label: value }] : []
  const test = useMutation({ mutationFn: () => api.models.test({ user }, { model: chosen }), onError: toastError })
  return (
    <Stack gap="xs">
      <Select
        label={t.settings.model}
        description={t.settings.modelHint}
        placeholder={t.settings.modelDefault(inUse)}
        value={value}
        onChange={(model) => {
          test.reset()
          onChange(model)
        }}
        searchable
        clearable
        clearButtonProps={{ "aria-label": t.settings.clearModel }}
        limit={100}
        nothingFoundMessage={t.settings.noModel}
        data={[
          { group: t.settings.modelsReady, items: [...missing, ...usable.map(option)] },
          { group: t.settings.modelsNoKey, items: others.map(option) },
        ]}
      />
      <Group gap="sm">
        <Button size="xs" variant="default" loading={test.isPending} onClick={() => test.mutate()}>
          {t.settings.testModel}
        </Button>
        {known ? (
          <Text size="sm" c="dimmed">
            {priceOf(known)} · {t.settings.context(compact(known.context_window))}
            {known.available ? "" : ` · ${t.settings.needsKey}`}
          </Text>
        ) : null}
      </Group>
      {test.data ? (
        <Alert color={test.data.ok ? "green" : "red"} variant="light" role="status">
          {test.data.ok ? t.settings.testOk(Math.round(test.data.latency_ms)) : (test.data.error ?? t.errors.unknown)}
        </Alert>
      ) : null}
    </Stack>
  )
}

function priceOf({ price }: Model): string {
  if (price.input === 0 && price.output === 0) return t.settings.free
  return t.settings.price(usd(price.input), usd(price.output))
}
