import { Button, Text } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useState } from "react"
import { api } from "../api.ts"
import { t } from "../texts.ts"
import { compact, usd } from "../ui/format.ts"
import type { RunUsage } from "./turns.ts"
import { usageKey } from "./use-conversation.ts"

/** What an answer cost. The newest says so at once; older ones when asked, so that reading back asks the server nothing. */
export function CostLine({
  user,
  agent,
  runId,
  atOnce,
}: {
  user: string
  agent: string
  runId: string | null
  atOnce: boolean
}) {
  const [asked, ask] = useState(false)
  const usage = useQuery<RunUsage | null>({
    queryKey: usageKey(runId ?? ""),
    enabled: runId !== null && (asked || atOnce),
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async ({ signal }) =>
      (await api.runs.get({ user, agent, run_id: runId ?? "" }, { signal })).result?.usage ?? null,
  })
  if (runId === null) return null
  if (usage.data)
    return (
      <Text
        size="xs"
        c="dimmed"
        title={t.chat.costDetail(
          usage.data.input_tokens,
          usage.data.output_tokens,
          usage.data.cache_read_tokens,
          usage.data.cache_write_tokens,
        )}
      >
        {t.chat.cost(compact(usage.data.total_tokens), usd(usage.data.cost_usd), usage.data.estimated)}
      </Text>
    )
  if (asked || atOnce) return null
  return (
    <Button size="compact-xs" variant="subtle" color="gray" onClick={() => ask(true)}>
      {t.chat.showCost}
    </Button>
  )
}
