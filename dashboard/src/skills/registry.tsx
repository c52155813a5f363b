import type { CallOptions } from "@autonomis/sdk/calls.ts"
import { isApiError } from "@autonomis/sdk/errors.ts"
import { followSkill } from "@autonomis/sdk/follow.ts"
import { Badge, Button, Group, Stack, Text, TextInput, Title } from "@mantine/core"
import { useMutation, useQuery } from "@tanstack/react-query"
import { useState } from "react"
import { api, explain, queryClient } from "../api.ts"
import { t } from "../texts.ts"
import { useAddressState } from "../ui/address-state.ts"
import { Confirm } from "../ui/confirm.tsx"
import { compact } from "../ui/format.ts"
import { Icon } from "../ui/icon.tsx"
import { Loaded } from "../ui/states.tsx"
import { toast } from "../ui/toast.ts"
import { followed, SkillProgress, type SkillStage } from "./skill-progress.tsx"

interface Found {
  slug: string
  owner: string | null
  name: string
  summary: string | null
  version: string | null
  downloads: number
  verdict: string | null
  installed: boolean
}

/** Search in ClawHub and install from there; what the registry holds suspicious is asked about first. */
export function Registry({ user }: { user: string }) {
  const [q, setQ] = useAddressState("q")
  const [text, setText] = useState(q)
  const results = useQuery({
    queryKey: ["registry", user, q],
    enabled: q !== "",
    staleTime: 60_000,
    queryFn: async ({ signal }) => (await api.skills.search({ user, q }, { signal })).skills,
  })
  return (
    <section className="at-card" aria-label={t.skills.registryTitle}>
      <Title order={2}>{t.skills.registryTitle}</Title>
      <Text size="sm" c="dimmed" mt={4} mb="md">
        {t.skills.registryHint}
      </Text>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          setQ(text.trim())
        }}
      >
        <Group>
          <TextInput
            className="at-grow"
            aria-label={t.skills.search}
            placeholder={t.skills.searchPlaceholder}
            leftSection={<Icon name="search" size={16} />}
            value={text}
            onChange={(e) => setText(e.currentTarget.value)}
          />
          <Button type="submit" variant="default" disabled={!text.trim()} loading={results.isFetching}>
            {t.skills.search}
          </Button>
        </Group>
      </form>
      {q === "" ? null : (
        <div className="at-results">
          <Loaded query={results}>
            {(list) =>
              list.length === 0 ? (
                <Text c="dimmed">{t.skills.nothing(q)}</Text>
              ) : (
                <ul className="at-list">
                  {list.map((found) => (
                    <li key={`${found.owner}/${found.slug}`}>
                      <Result user={user} found={found} />
                    </li>
                  ))}
                </ul>
              )
            }
          </Loaded>
        </div>
      )}
    </section>
  )
}

/** What the registry holds against a skill, in words; null when it does not say. */
function riskIn(verdict: unknown): string | null {
  if (typeof verdict !== "object" || verdict === null || !("status" in verdict)) return null
  const why = t.skills.risks[String(verdict.status)]
  const reasons = "reasons" in verdict && Array.isArray(verdict.reasons) ? verdict.reasons.map(String) : []
  if (why === undefined) return null
  return reasons.length === 0 ? why : why + t.skills.riskReasons(reasons.join(", "))
}

const VERDICT: Record<string, string> = {
  clean: "green",
  pass: "green",
  suspicious: "yellow",
  pending: "yellow",
  error: "yellow",
  malicious: "red",
}

function Result({ user, found }: { user: string; found: Found }) {
  const [risk, setRisk] = useState<string | null>(null)
  const [stage, setStage] = useState<SkillStage | null>(null)
  const install = useMutation({
    mutationFn: (accept: boolean) => {
      const body = { ...(found.owner ? { owner: found.owner } : {}), ...(accept ? { accept_risk: true } : {}) }
      const begin = (call: CallOptions) => api.skills.install({ user, slug: found.slug }, body, call)
      return followed(followSkill(begin, new AbortController().signal), setStage)
    },
    onSettled: () => setStage(null),
    onError: (error) => {
      if (isApiError(error, "needs_accept_risk")) setRisk(riskIn(error.body.verdict) ?? explain(error))
    },
    onSuccess: async (skill) => {
      toast(t.skills.installed(skill.id))
      await queryClient.invalidateQueries({ queryKey: ["skills", user] })
      await queryClient.invalidateQueries({ queryKey: ["registry", user] })
    },
  })
  const failed = install.error && !isApiError(install.error, "needs_accept_risk") ? explain(install.error) : null
  return (
    <Group justify="space-between" wrap="nowrap" align="flex-start" className="at-result">
      <Stack gap={4} className="at-grow">
        <Group gap={6}>
          <strong>{found.name}</strong>
          <Text size="sm" c="dimmed">
            {found.owner ? `@${found.owner}/` : ""}
            {found.slug}
          </Text>
          {found.verdict ? (
            <Badge size="sm" variant="light" color={VERDICT[found.verdict] ?? "gray"}>
              {found.verdict}
            </Badge>
          ) : null}
        </Group>
        <Text size="sm">{found.summary}</Text>
        <Text size="xs" c="dimmed">
          {t.skills.downloads(compact(found.downloads))}
          {found.version ? ` · ${found.version}` : ""}
        </Text>
        {stage ? <SkillProgress at={stage} /> : null}
        {failed ? (
          <Text size="sm" c="var(--mantine-color-error)" role="alert">
            {failed}
          </Text>
        ) : null}
      </Stack>
      <Button
        size="xs"
        variant={found.installed ? "default" : "light"}
        loading={install.isPending}
        onClick={() => install.mutate(false)}
        aria-label={t.skills.installOne(found.slug)}
      >
        {found.installed ? t.skills.update : t.skills.install}
      </Button>
      <Confirm
        opened={risk !== null}
        title={t.skills.riskTitle(found.slug)}
        text={t.skills.riskText(risk ?? "")}
        action={t.skills.riskAction}
        onClose={() => setRisk(null)}
        onConfirm={() => {
          // What becomes of it is shown where it was begun.
          setRisk(null)
          install.mutate(true)
        }}
      />
    </Group>
  )
}
