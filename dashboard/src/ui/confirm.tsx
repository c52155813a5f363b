import { Button, Group, Modal, Stack, Text, TextInput } from "@mantine/core"
import { useState } from "react"
import { t } from "../texts.ts"

/** Asks before what cannot be undone; with `typed`, only once that word has been typed. */
export function Confirm({
  opened,
  title,
  text,
  action,
  cancel = t.cancel,
  typed,
  busy = false,
  onConfirm,
  onClose,
}: {
  opened: boolean
  title: string
  text: string
  action: string
  cancel?: string
  typed?: string
  busy?: boolean
  onConfirm: () => void
  onClose: () => void
}) {
  return (
    <Modal opened={opened} onClose={onClose} title={title}>
      <ConfirmBody {...{ text, action, cancel, typed, busy, onConfirm, onClose }} />
    </Modal>
  )
}

function ConfirmBody({
  text,
  action,
  cancel,
  typed,
  busy,
  onConfirm,
  onClose,
}: {
  text: string
  action: string
  cancel: string
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
            {cancel}
          </Button>
          <Button type="submit" color="red" loading={busy} disabled={typed !== undefined && value !== typed}>
            {action}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
