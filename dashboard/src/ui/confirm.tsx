import { Button, Group, Modal, Stack, Text, TextInput } from "@mantine/core"
import { useState } from "react"
import { t } from "../texts.ts"

/** Asks before what cannot be undone; with `typed`, only once that word has been typed. */
export function Confirm({
  opened,
  title,
  text,
  action,
  typed,
  busy = false,
  onConfirm,
  onClose,
}: {
  opened: boolean
  title: string
  text: string
  action: string
  typed?: string
  busy?: boolean
  onConfirm: () => void
  onClose: () => void
}) {
  return (
    <Modal opened={opened} onClose={onClose} title={title}>
      <ConfirmBody text={text} action={action} typed={typed} busy={busy} onConfirm={onConfirm} onClose={onClose} />
    </Modal>
  )
}

function ConfirmBody({
  text,
  action,
  typed,
  busy,
  onConfirm,
  onClose,
}: {
  text: string
  action: string
  typed: string | undefined
  busy: boolean
  onConfirm: () => void
  onClose: () => void
}) {
  const [value, setValue] = useState("")
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (typed === undefined || value === typed) onConfirm()
      }}
    >
      <Stack>
        <Text size="sm">{text}</Text>
        {typed === undefined ? null : (
          <TextInput
            label={t.typeToConfirm(typed)}
            value={value}
            onChange={(e) => setValue(e.currentTarget.value)}
            autoComplete="off"
            data-autofocus
          />
        )}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            {t.cancel}
          </Button>
          <Button type="submit" color="red" loading={busy} disabled={typed !== undefined && value !== typed}>
            {action}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
