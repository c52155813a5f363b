import type { InstallStage, Skill } from "@autonomis/contract/skills.ts"
import { Group, Progress, Text } from "@mantine/core"
import { t } from "../texts.ts"
import { bytes } from "../ui/format.ts"

/** Where an install or upload stands; bytes are sent before the server has anything to tell. */
export type SkillStage = Omit<InstallStage, "stage"> & { stage: InstallStage["stage"] | "sending" }

/** How far along the whole way each stage begins, in percent, and where the bytes of one end. */
const BEGINS = { sending: 0, resolving: 5, downloading: 15, checking: 85, unpacking: 92 } as const
const BYTES_END = 85

/** Reads an install or upload to its end. */
export async function followed(
  work: AsyncGenerator<InstallStage, Skill, void>,
  tell: (stage: SkillStage) => void,
): Promise<Skill> {
  for (;;) {
    const { done, value } = await work.next()
    if (done) return value
    tell(value)
  }
}

export function SkillProgress({ at }: { at: SkillStage }) {
  const from = BEGINS[at.stage]
  const known = at.bytes !== null && at.total !== null && at.total > 0
  const percent = known ? from + (BYTES_END - from) * Math.min(1, (at.bytes ?? 0) / (at.total ?? 1)) : from
  return (
    <div className="at-installing">
      <Group justify="space-between" gap="xs" wrap="nowrap">
        <Text size="sm" c="dimmed" role="status">
          {t.skills.stages[at.stage]}
        </Text>
        {at.bytes === null ? null : (
          <Text size="xs" c="dimmed" className="at-numbers">
            {at.total === null ? bytes(at.bytes) : t.skills.amount(bytes(at.bytes), bytes(at.total))}
          </Text>
        )}
      </Group>
      <Progress
        value={Math.max(percent, 4)}
        striped={!known}
        animated={!known}
        size="sm"
        aria-label={t.skills.progress}
      />
    </div>
  )
}
