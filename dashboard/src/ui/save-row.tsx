import { Button, Group, Text } from "@mantine/core"
import { explain } from "../api.ts"
import { t } from "../texts.ts"

/** The end of a form: why saving failed, and the buttons to save or discard what was changed. */
export function SaveRow({
  label,
  changed,
  save,
  onDiscard,
}: {
  label: string
  changed: boolean
  save: { error: unknown; isPending: boolean }
  onDiscard: () => void
}) {
  return (
    <>
      {save.error ? (
        <Text c="var(--mantine-color-error)" size="sm" role="alert">
          {explain(save.error)}
        </Text>
      ) : null}
      <Group>
        <Button type="submit" disabled={!changed} loading={save.isPending}>
          {label}
        </Button>
        {changed ? (
          <Button variant="default" onClick={onDiscard}>
            {t.templates.discard}
          </Button>
        ) : null}
      </Group>
    </>
  )
}
