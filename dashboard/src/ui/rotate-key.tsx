import { Alert, Button, Group, NativeSelect, Stack, Text, Title } from "@mantine/core"
import { useMutation } from "@tanstack/react-query"
import { useState } from "react"
import { t } from "../texts.ts"
import { Confirm } from "./confirm.tsx"
import { CopyField } from "./copy.tsx"
import { toastError } from "./toast.ts"

/** A new key in place of the old, which stops at once or after a grace; shown this once. */
export function RotateKey({
  title,
  text,
  keyLabel,
  rotate,
}: {
  title: string
  text: string
  keyLabel: string
  rotate: (graceSeconds: number) => Promise<{ api_key: string }>
}) {
  const [grace, setGrace] = useState("0")
  const [asking, setAsking] = useState(false)
  const mutation = useMutation({
    mutationFn: () => rotate(Number(grace)),
    onError: toastError,
    onSettled: () => setAsking(false),
  })
  return (
    <Stack gap="md" align="flex-start">
      <div>
        <Title order={2}>{title}</Title>
        <Text size="sm" c="dimmed" mt={4} maw={680}>
          {text}
        </Text>
      </div>
      {mutation.data ? (
        <Alert color="green" variant="light" title={t.keys.newKey} w="100%">
          <Stack gap="xs">
            <Text size="sm">{t.keys.once}</Text>
            <CopyField text={mutation.data.api_key} label={keyLabel} />
          </Stack>
        </Alert>
      ) : null}
      <Group align="flex-end">
        <NativeSelect
          label={t.keys.grace}
          value={grace}
          onChange={(e) => setGrace(e.currentTarget.value)}
          data={[
            { value: "0", label: t.keys.graces.none },
            { value: "3600", label: t.keys.graces.hour },
            { value: "86400", label: t.keys.graces.day },
          ]}
        />
        <Button onClick={() => setAsking(true)}>{t.keys.rotate}</Button>
      </Group>
      <Confirm
        opened={asking}
        title={t.keys.rotateTitle}
        text={grace === "0" ? t.keys.rotateNow : t.keys.rotateLater}
        action={t.keys.rotate}
        busy={mutation.isPending}
        onClose={() => setAsking(false)}
        onConfirm={() => mutation.mutate()}
      />
    </Stack>
  )
}
