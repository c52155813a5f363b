import { Alert, Button, Skeleton, Stack, Text, Title } from "@mantine/core"
import type { ReactNode } from "react"
import { useEffect, useState } from "react"
import { explain } from "../api.ts"
import { t } from "../texts.ts"
import { Icon, type IconName } from "./icon.tsx"

/** Nothing for the first 200 ms, so that quick answers do not flicker. */
export function Loading({ rows = 3, height = 56 }: { rows?: number; height?: number }) {
  const [shown, show] = useState(false)
  useEffect(() => {
    const timer = setTimeout(() => show(true), 200)
    return () => clearTimeout(timer)
  }, [])
  if (!shown) return null
  return (
    <Stack gap="sm" role="status" aria-label={t.loading}>
      {Array.from({ length: rows }, (_, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the rows are all alike
        <Skeleton key={i} height={height} />
      ))}
    </Stack>
  )
}

/** What is wrong, in words, and a way to try again. */
export function Failure({ error, retry }: { error: unknown; retry?: () => void }) {
  return (
    <Alert color="red" variant="light" icon={<Icon name="warning" />} title={t.errors.title} role="alert">
      <Stack gap="sm" align="flex-start">
        <Text size="sm">{explain(error)}</Text>
        {retry ? (
          <Button size="xs" variant="default" onClick={retry}>
            {t.errors.retry}
          </Button>
        ) : null}
      </Stack>
    </Alert>
  )
}

/** An empty place says what belongs there and how to fill it. */
export function Empty({
  icon,
  title,
  text,
  children,
  whole = false,
}: {
  icon: IconName
  title: string
  /** It is all that the page shows. */
  whole?: boolean
  text: string
  children?: ReactNode
}) {
  return (
    <div className="at-empty">
      <span className="at-empty-icon">
        <Icon name={icon} size={26} />
      </span>
      <Title order={whole ? 1 : 2}>{title}</Title>
      <Text c="dimmed" maw={460}>
        {text}
      </Text>
      {children}
    </div>
  )
}

/** What a query brought; its loading and its error in the same place. */
export function Loaded<T>({
  query,
  children,
  rows,
}: {
  query: { data: T | undefined; error: unknown; refetch: () => unknown }
  children: (data: T) => ReactNode
  rows?: number
}) {
  if (query.data !== undefined) return children(query.data)
  if (query.error) return <Failure error={query.error} retry={() => query.refetch()} />
  return <Loading rows={rows ?? 3} />
}
