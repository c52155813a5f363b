import { Group, Text, Title } from "@mantine/core"
import { type ReactNode, useEffect } from "react"
import { t } from "../texts.ts"

/** A page's frame: its title, a line of what it is for, and what can be done. */
export function Page({
  title,
  hint,
  actions,
  children,
  wide = false,
}: {
  title: string
  hint?: ReactNode
  actions?: ReactNode
  children: ReactNode
  wide?: boolean
}) {
  useEffect(() => {
    document.title = `${title} · ${t.app}`
  }, [title])
  return (
    <div className={wide ? "at-page at-page-wide" : "at-page"}>
      <Group justify="space-between" align="flex-start" mb="lg" gap="md" className="at-page-head">
        <div className="at-grow">
          <Title order={1}>{title}</Title>
          {hint ? (
            <Text c="dimmed" mt={4} maw={680}>
              {hint}
            </Text>
          ) : null}
        </div>
        {actions ? <Group gap="xs">{actions}</Group> : null}
      </Group>
      {children}
    </div>
  )
}
