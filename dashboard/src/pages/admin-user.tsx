import type { User } from "@autonomis/contract/users.ts"
import { Badge, Button, Group, NativeSelect, NumberInput, Stack, Text, Title } from "@mantine/core"
import { useMutation, useQuery } from "@tanstack/react-query"
import { useNavigate, useParams } from "@tanstack/react-router"
import { useState } from "react"
import { api, changePerson, explain, queryClient } from "../api.ts"
import { routes } from "../paths.ts"
import { plansQuery, userQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { Confirm } from "../ui/confirm.tsx"
import { CopyField } from "../ui/copy.tsx"
import { Icon } from "../ui/icon.tsx"
import { LimitsList } from "../ui/limits-list.tsx"
import { Page } from "../ui/page.tsx"
import { SaveRow } from "../ui/save-row.tsx"
import { Loaded } from "../ui/states.tsx"
import { fullTime } from "../ui/time.tsx"
import { toast, toastError } from "../ui/toast.ts"
import { useUnsaved } from "../ui/unsaved.tsx"

export function AdminUserPage() {
  const { user } = useParams({ from: routes.adminUser })
  const navigate = useNavigate()
  const query = useQuery(userQuery(user))
  return (
    <Page
      title={user}
      hint={query.data ? [query.data.display_name, query.data.email].filter(Boolean).join(" · ") : null}
      actions={
        <Button
          variant="default"
          leftSection={<Icon name="back" size={16} />}
          onClick={() => navigate({ to: routes.admin })}
        >
          {t.admin.back}
        </Button>
      }
    >
      <Loaded query={query}>
        {(info) => (
          <Stack gap="lg">
            <Access info={info} />
            <Plan key={info.tier} info={info} />
            <Budgets key={JSON.stringify(info.limits)} info={info} />
            <Danger info={info} />
          </Stack>
        )}
      </Loaded>
    </Page>
  )
}

function keep(info: User) {
  queryClient.setQueryData(userQuery(info.user).queryKey, info)
  toast(t.settings.saved)
  return queryClient.invalidateQueries({ queryKey: ["users"] })
}

/** A link for the user, or a look with the user's own eyes. */
function Access({ info: { user, state } }: { info: User }) {
  const link = useMutation({ mutationFn: () => api.users.signInLink({ user }), onError: toastError })
  const [asking, setAsking] = useState(false)
  const navigate = useNavigate()
  const impersonate = useMutation({
    mutationFn: () => api.users.impersonate({ user }),
    onError: toastError,
    onSuccess: async () => {
      await navigate({ to: routes.home })
      await changePerson(false)
    },
  })
  return (
    <section className="at-card" aria-label={t.admin.access}>
      <Stack>
        <Group gap="sm">
          <Title order={2}>{t.admin.access}</Title>
          <Badge variant="light" color={state === "active" ? "green" : "red"}>
            {t.admin.states[state]}
          </Badge>
        </Group>
        <Group gap="xs">
          <Button variant="default" onClick={() => navigate({ to: routes.agents, params: { user } })}>
            {t.admin.openPages}
          </Button>
          <Button variant="default" loading={link.isPending} onClick={() => link.mutate()}>
            {t.admin.signInLink}
          </Button>
          <Button
            variant="default"
            disabled={state === "suspended"}
            title={state === "suspended" ? t.admin.impersonateSuspended : undefined}
            onClick={() => setAsking(true)}
          >
            {t.admin.impersonate}
          </Button>
        </Group>
        {link.data ? (
          <div>
            <Text size="sm" mb={6}>
              {t.admin.linkText(fullTime(link.data.expires_at))}
            </Text>
            <CopyField text={link.data.url} label={t.admin.signInLink} />
          </div>
        ) : null}
      </Stack>
      <Confirm
        opened={asking}
        title={t.admin.impersonateTitle(user)}
        text={t.admin.impersonateText}
        action={t.admin.impersonate}
        busy={impersonate.isPending}
        onClose={() => setAsking(false)}
        onConfirm={() => impersonate.mutate()}
      />
    </section>
  )
}

function Plan({ info }: { info: User }) {
  const [tier, setTier] = useState(info.tier)
  useUnsaved(tier !== info.tier)
  const plans = useQuery(plansQuery).data?.plans.map((p) => p.tier) ?? [info.tier]
  const save = useMutation({ mutationFn: () => api.users.setTier({ user: info.user }, { tier }), onSuccess: keep })
  return (
    <section className="at-card" aria-label={t.admin.plan}>
      <Stack>
        <Title order={2}>{t.admin.plan}</Title>
        <Group align="flex-end">
          <NativeSelect
            label={t.admin.tier}
            value={tier}
            data={plans}
            onChange={(e) => setTier(e.currentTarget.value)}
          />
          <Button disabled={tier === info.tier} loading={save.isPending} onClick={() => save.mutate()}>
            {t.admin.changePlan}
          </Button>
        </Group>
        {save.error ? (
          <Text size="sm" c="var(--mantine-color-error)" role="alert">
            {explain(save.error)}
          </Text>
        ) : null}
        <LimitsList limits={info.limits} />
      </Stack>
    </section>
  )
}

const FIELDS = ["tokens_per_month", "usd_per_month", "usd_per_day"] as const
type Choice = { kind: "plan" | "unlimited" | "value"; value: number | string }

/** Budgets over the plan's. The API tells only what is in force, so what is sent is what stands here. */
function Budgets({ info }: { info: User }) {
  const plan = useQuery(plansQuery).data?.plans.find((p) => p.tier === info.tier)?.limits
  const [choices, setChoices] = useState<Partial<Record<(typeof FIELDS)[number], Choice>>>({})
  const inForce = (field: (typeof FIELDS)[number]): Choice => {
    const now = info.limits[field]
    if (plan && plan[field] === now) return { kind: "plan", value: "" }
    return now === null ? { kind: "unlimited", value: "" } : { kind: "value", value: now }
  }
  const choiceOf = (field: (typeof FIELDS)[number]) => choices[field] ?? inForce(field)
  const changed = FIELDS.some((field) => {
    const [now, then] = [choiceOf(field), inForce(field)]
    return now.kind !== then.kind || (now.kind === "value" && Number(now.value) !== Number(then.value))
  })
  useUnsaved(changed)
  const save = useMutation({
    mutationFn: () => {
      const body: Partial<Record<(typeof FIELDS)[number], number | null>> = {}
      for (const field of FIELDS) {
        const { kind, value } = choiceOf(field)
        if (kind === "unlimited") body[field] = null
        if (kind === "value" && value !== "") body[field] = Number(value)
      }
      return api.users.setLimits({ user: info.user }, body)
    },
    onSuccess: async (answer) => {
      await keep(answer)
      setChoices({})
    },
  })
  return (
    <form
      className="at-card"
      onSubmit={(event) => {
        event.preventDefault()
        save.mutate()
      }}
    >
      <Stack>
        <div>
          <Title order={2}>{t.admin.budgets}</Title>
          <Text size="sm" c="dimmed" mt={4}>
            {t.admin.budgetsHint}
          </Text>
        </div>
        {FIELDS.map((field) => {
          const choice = choiceOf(field)
          return (
            <Group key={field} align="flex-end" className="at-wrap-phone">
              <NativeSelect
                label={t.admin.budgetNames[field]}
                value={choice.kind}
                onChange={(e) => {
                  const kind = e.currentTarget.value as Choice["kind"]
                  setChoices((all) => ({ ...all, [field]: { kind, value: choice.value } }))
                }}
                data={[
                  { value: "plan", label: t.admin.asPlan },
                  { value: "unlimited", label: t.unlimited },
                  { value: "value", label: t.admin.ownValue },
                ]}
              />
              {choice.kind === "value" ? (
                <NumberInput
                  aria-label={t.admin.valueOf(t.admin.budgetNames[field])}
                  min={0}
                  value={choice.value}
                  allowDecimal={field !== "tokens_per_month"}
                  prefix={field === "tokens_per_month" ? "" : "$"}
                  thousandSeparator
                  onChange={(value) => setChoices((all) => ({ ...all, [field]: { kind: "value", value } }))}
                />
              ) : null}
            </Group>
          )
        })}
        <SaveRow label={t.admin.saveBudgets} changed={changed} save={save} onDiscard={() => setChoices({})} />
      </Stack>
    </form>
  )
}

function Danger({ info: { user, state } }: { info: User }) {
  const [asking, setAsking] = useState<"suspend" | "delete" | null>(null)
  const navigate = useNavigate()
  const setState = useMutation({
    mutationFn: (next: "active" | "suspended") => api.users.setState({ user }, { state: next }),
    onError: toastError,
    onSettled: () => setAsking(null),
    onSuccess: keep,
  })
  const remove = useMutation({
    mutationFn: () => api.users.delete({ user }),
    onError: toastError,
    onSuccess: async () => {
      await navigate({ to: routes.admin, ignoreBlocker: true })
      queryClient.removeQueries({ predicate: (query) => query.queryKey[1] === user })
      await queryClient.invalidateQueries({ queryKey: ["users"] })
      toast(t.admin.deleted(user))
    },
  })
  return (
    <section className="at-card at-danger" aria-label={t.settings.danger}>
      <Stack>
        <Group justify="space-between">
          <div className="at-grow">
            <Title order={2}>{state === "active" ? t.admin.suspend : t.admin.resume}</Title>
            <Text size="sm" c="dimmed" mt={4}>
              {t.admin.suspendText}
            </Text>
          </div>
          {state === "active" ? (
            <Button color="red" variant="outline" onClick={() => setAsking("suspend")}>
              {t.admin.suspend}
            </Button>
          ) : (
            <Button variant="default" loading={setState.isPending} onClick={() => setState.mutate("active")}>
              {t.admin.resume}
            </Button>
          )}
        </Group>
        <Group justify="space-between">
          <div className="at-grow">
            <Title order={2}>{t.admin.delete}</Title>
            <Text size="sm" c="dimmed" mt={4}>
              {t.admin.deleteText}
            </Text>
          </div>
          <Button color="red" variant="outline" onClick={() => setAsking("delete")}>
            {t.admin.delete}
          </Button>
        </Group>
      </Stack>
      <Confirm
        opened={asking === "suspend"}
        title={t.admin.suspendTitle(user)}
        text={t.admin.suspendText}
        action={t.admin.suspend}
        busy={setState.isPending}
        onClose={() => setAsking(null)}
        onConfirm={() => setState.mutate("suspended")}
      />
      <Confirm
        opened={asking === "delete"}
        title={t.admin.deleteTitle(user)}
        text={t.admin.deleteText}
        action={t.admin.delete}
        typed={user}
        busy={remove.isPending}
        onClose={() => setAsking(null)}
        onConfirm={() => remove.mutate()}
      />
    </section>
  )
}
