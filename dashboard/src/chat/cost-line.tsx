import { Text } from "@mantine/core"
import { t } from "../texts.ts"
import { compact, usd } from "../ui/format.ts"
import type { RunUsage } from "./turns.ts"

/** What an answer cost; what kinds of tokens it took, on hover. */
export function CostLine({ usage }: { usage: RunUsage }) {
  const { input_tokens: input, output_tokens: output, cache_read_tokens: read, cache_write_tokens: write } = usage
  return (
    <Text size="xs" c="dimmed" title={t.chat.costDetail(input, output, read, write)}>
      {t.chat.cost(compact(usage.total_tokens), usd(usage.cost_usd), usage.estimated)}
    </Text>
  )
}
