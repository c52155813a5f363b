import type { Skill } from "@autonomis/contract/skills.ts"
import { Modal, Text } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { api } from "../api.ts"
import { Markdown } from "../chat/markdown.tsx"
import { Loaded } from "../ui/states.tsx"

/** What agents are told by a skill, and the files that come with it. */
export function SkillText({ user, skill, onClose }: { user: string; skill: Skill; onClose: () => void }) {
  const text = useQuery({
    queryKey: ["skills", user, "text", skill.id],
    queryFn: async ({ signal }) => await (await api.skills.read({ user, id: skill.id }, { signal })).text(),
  })
  return (
    <Modal opened onClose={onClose} title={skill.id} size="xl">
      <Loaded query={text}>{(markdown) => <Markdown text={withoutFrontmatter(markdown)} />}</Loaded>
      {skill.files.length > 1 ? (
        <Text size="sm" c="dimmed" mt="md">
          {skill.files.join(" · ")}
        </Text>
      ) : null}
    </Modal>
  )
}

/** The card has told already what stands there. */
const withoutFrontmatter = (text: string) => text.replace(/^---\r?\n[\s\S]*?\r?\n---\r?\n/, "")
