import { Tabs } from "@mantine/core"
import { useEffect, useRef } from "react"

/** Tabs in one row; on a narrow screen it is pushed sideways so far that the chosen one is seen. */
export function TabList<T extends string>({
  label,
  names,
  chosen,
  mb,
}: {
  label: string
  names: readonly (readonly [value: T, text: string])[]
  chosen?: T
  mb?: "lg"
}) {
  const list = useRef<HTMLDivElement>(null)
  // biome-ignore lint/correctness/useExhaustiveDependencies: another tab is the reason to look again
  useEffect(() => {
    const tab = list.current?.querySelector("[role=tab][aria-selected=true]")
    tab?.scrollIntoView({ block: "nearest", inline: "center" })
  }, [chosen])
  return (
    <Tabs.List ref={list} mb={mb} className="at-tabs" aria-label={label}>
      {names.map(([value, text]) => (
        <Tabs.Tab key={value} value={value}>
          {text}
        </Tabs.Tab>
      ))}
    </Tabs.List>
  )
}
