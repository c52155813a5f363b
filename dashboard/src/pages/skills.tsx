import type { Skill } from "@autonomis/contract/skills.ts"
import { ActionIcon, Alert, Badge, Button, Group, Stack, Text, Title } from "@mantine/core"
import { useMutation, useQuery } from "@tanstack/react-query"
import { Link, useParams } from "@tanstack/react-router"
import { useState } from "react"
import { api, queryClient } from "../api.ts"
import { routes } from "../paths.ts"
import { skillsQuery } from "../queries.ts"
import { Registry } from "../skills/registry.tsx"
import { SkillText } from "../skills/skill-text.tsx"
import { SkillUpload } from "../skills/skill-upload.tsx"
import { t } from "../texts.ts"
import { Confirm } from "../ui/confirm.tsx"
import { bytes } from "../ui/format.ts"
import { Icon } from "../ui/icon.tsx"
import { Page } from "../ui/page.tsx"
import { Empty, Loaded } from "../ui/states.tsx"
import { Ago } from "../ui/time.tsx"
import { toast, toastError } from "../ui/toast.ts"

export function SkillsPage() {
  const { user } = useParams({ from: routes.skills })
  const skills = useQuery(skillsQuery(user))
  return (
    <Page title={t.nav.skills} hint={t.skills.hint}>
      <Stack gap="lg">
        <Loaded query={skills}>
          {(list) =>
            list.length === 0 ? (
              <Empty icon="skills" title={t.skills.emptyTitle} text={t.skills.emptyText} />
            ) : (
              <ul className="at-cards">
                {list.map((skill) => (
                  <li key={skill.id}>
                    <SkillCard user={user} skill={skill} />
                  </li>
                ))}
              </ul>
            )
          }
        </Loaded>
        <SkillUpload user={user} />
        <Registry user={user} />
      </Stack>
    </Page>
  )
}

const STATE = { active: "green", incomplete: "yellow", quarantined: "red" } as const

function SkillCard({ user, skill }: { user: string; skill: Skill }) {
  const [asking, setAsking] = useState(false)
  const [reading, setReading] = useState(false)
  const remove = useMutation({
    mutationFn: () => api.skills.delete({ user, id: skill.id }),
    onError: toastError,
    onSuccess: async () => {
      toast(t.skills.deleted(skill.id))
      await queryClient.invalidateQueries({ queryKey: ["skills", user] })
    },
  })
  const origin = skill.source === "clawhub" ? `${skill.owner ? `@${skill.owner}/` : ""}${skill.id}` : t.skills.uploaded
  const newer = skill.latest_version !== null && skill.latest_version !== skill.version
  return (
    <article className="at-card at-agent-card">
      <Group justify="space-between" wrap="nowrap" align="flex-start">
        <Title order={2} className="at-ellipsis">
          {skill.id}
        </Title>
        <ActionIcon
          variant="subtle"
          color="gray"
          aria-label={t.skills.deleteOne(skill.id)}
          onClick={() => setAsking(true)}
        >
          <Icon name="trash" size={16} />
        </ActionIcon>
      </Group>
      <Badge variant="light" color={STATE[skill.state]}>
        {t.skills.states[skill.state]}
      </Badge>
      <Text size="sm" c="dimmed" className="at-grow" lineClamp={4}>
        {skill.description}
      </Text>
      {skill.missing.length > 0 ? (
        <Alert color="yellow" variant="light" p="xs">
          <Stack gap={6}>
            {t.skills.missing(skill.missing.join(", "))}
            {skill.missing
              .filter((name) => skill.requires.env.includes(name))
              .map((key) => (
                <Link key={key} to={routes.secrets} params={{ user }} search={{ add: key }}>
                  {t.skills.addSecret(key)}
                </Link>
              ))}
          </Stack>
        </Alert>
      ) : null}
      {skill.reason && skill.missing.length === 0 ? (
        <Text size="sm" c="var(--mantine-color-error)">
          {skill.reason}
        </Text>
      ) : null}
      <Text size="xs" c="dimmed">
        {origin}
        {skill.version ? ` · ${skill.version}` : ""}
        {newer ? ` (${t.skills.newer(skill.latest_version ?? "")})` : ""} · {t.skills.files(skill.files.length)} ·{" "}
        {bytes(skill.size_bytes)} · <Ago time={skill.installed_at} />
      </Text>
      <Button
        size="xs"
        variant="default"
        w="fit-content"
        aria-label={t.skills.readOne(skill.id)}
        onClick={() => setReading(true)}
      >
        {t.skills.read}
      </Button>
      {reading ? <SkillText user={user} skill={skill} onClose={() => setReading(false)} /> : null}
      <Confirm
        opened={asking}
        title={t.skills.deleteTitle(skill.id)}
        text={t.skills.deleteText}
        action={t.delete}
        busy={remove.isPending}
        onClose={() => setAsking(false)}
        onConfirm={() => remove.mutate()}
      />
    </article>
  )
}
