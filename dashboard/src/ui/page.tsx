import { Group, Text, Title } from "@mantine/core"
import { type ReactNode, useEffect } from "react"
import { t } from "../texts.ts"

/** What stands in the browser's tab: from the particular to the general. */
export function usePageTitle(...parts: readonly string[]) {
  const title = [...parts, t.app].join(" · ")
  useEffect(() => {
    document.title = title
  }, [title])
}

/** A page's frame: its title, a line of what it is for, and what can be done. */
export function Page({
  title,
  hint,
  actions,
  children,
  wide = false,
  part,
}: {
  title: string
  /** Which of the page's parts is shown; for the browser's tab. */
  part?: string
  hint?: ReactNode
  actions?: ReactNode
  children: ReactNode
  wide?: boolean
}) {
  usePageTitle(...(part === undefined ? [] : [part]), title)
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
