import { Text } from "@mantine/core"
import type { ReactNode } from "react"

/** One number, large, with what it means. */
export function Figure({
  label,
  value,
  title,
  children,
}: {
  label: string
  value: string
  title?: string
  children?: ReactNode
}) {
  return (
    <div className="at-card at-figure">
      <Text size="sm" c="dimmed">
        {label}
      </Text>
      <span className="at-figure-value" title={title}>
        {value}
      </span>
      {children}
    </div>
  )
}
