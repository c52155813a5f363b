import { Badge, Button, Group, Modal, NativeSelect, Stack, Table, Text, TextInput } from "@mantine/core"
import { useDebouncedValue } from "@mantine/hooks"
import { keepPreviousData, useInfiniteQuery, useMutation, useQuery } from "@tanstack/react-query"
import { Link } from "@tanstack/react-router"
import { useState } from "react"
import { api, explain, queryClient } from "../api.ts"
import { NAME_PATTERN } from "../pages/names.ts"
import { routes } from "../paths.ts"
import { plansQuery, usersQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { useAddressState } from "../ui/address-state.ts"
import { CopyField } from "../ui/copy.tsx"
import { count } from "../ui/format.ts"
import { Icon } from "../ui/icon.tsx"
import { Empty, Loaded } from "../ui/states.tsx"
import { Ago } from "../ui/time.tsx"
import { toastError } from "../ui/toast.ts"

export function UsersTab() {
  const [text, setText] = useAddressState("q")
  const [q] = useDebouncedValue(text.trim().slice(0, 200), 250)
  const [creating, setCreating] = useState(false)
  const users = useInfiniteQuery({ ...usersQuery(q), placeholderData: keepPreviousData })
  return (
    <Stack>
      <Group justify="space-between">
        <TextInput
          className="at-grow"
          maw={420}
          aria-label={t.admin.search}
          placeholder={t.admin.search}
          leftSection={<Icon name="search" size={16} />}
          value={text}
          onChange={(e) => setText(e.currentTarget.value)}
        />
        <Button leftSection={<Icon name="plus" size={16} />} onClick={() => setCreating(true)}>
          {t.admin.create}
        </Button>
      </Group>
      <Loaded query={users}>
        {({ pages }) => {
          const list = pages.flatMap((page) => page.users)
          if (list.length === 0)
            return (
              <Empty
                icon="account"
                title={q ? t.admin.noMatch : t.admin.emptyTitle}
                text={q ? t.admin.noMatchText : t.admin.emptyText}
              />
            )
          return (
            // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
            <section className="at-card at-table-card at-table-stack" tabIndex={0} aria-label={t.admin.tabs.users}>
              <Table verticalSpacing="sm" highlightOnHover>
                <Table.Thead>
                  <Table.Tr>
                    <Table.Th>{t.admin.user}</Table.Th>
                    <Table.Th>{t.admin.plan}</Table.Th>
                    <Table.Th>{t.admin.state}</Table.Th>
                    <Table.Th>{t.limits.agents}</Table.Th>
                    <Table.Th>{t.admin.created}</Table.Th>
                  </Table.Tr>
                </Table.Thead>
                <Table.Tbody>
                  {list.map((user) => (
                    <Table.Tr key={user.user}>
                      <Table.Td>
                        <Link to={routes.adminUser} params={{ user: user.user }} className="at-strong">
                          {user.user}
                        </Link>
                        <Text size="sm" c="dimmed">
                          {[user.display_name, user.email].filter(Boolean).join(" · ")}
                        </Text>
                      </Table.Td>
                      <Table.Td data-label={t.admin.plan}>{user.tier}</Table.Td>
                      <Table.Td>
                        <Badge variant="light" color={user.state === "active" ? "green" : "red"}>
                          {t.admin.states[user.state]}
                        </Badge>
                      </Table.Td>
                      <Table.Td data-label={t.limits.agents}>{user.agent_count}</Table.Td>
                      <Table.Td data-label={t.admin.created}>
                        <Ago time={user.created_at} />
                      </Table.Td>
                    </Table.Tr>
                  ))}
                </Table.Tbody>
              </Table>
              <Group justify="space-between" mt="sm" mih={36}>
                <Text size="sm" c="dimmed" role="status">
                  {t.admin.shown(list.length, count(list.length), !users.hasNextPage)}
                </Text>
                {users.hasNextPage ? (
                  <Button
                    variant="default"
                    loading={users.isFetchingNextPage}
                    onClick={() => users.fetchNextPage().then(({ error }) => error && toastError(error))}
                  >
                    {t.more}
                  </Button>
                ) : null}
              </Group>
            </section>
          )
        }}
      </Loaded>
      <Modal opened={creating} onClose={() => setCreating(false)} title={t.admin.create}>
        <CreateUser onClose={() => setCreating(false)} />
      </Modal>
    </Stack>
  )
}

function CreateUser({ onClose }: { onClose: () => void }) {
  const plans = useQuery(plansQuery).data
  const [form, setForm] = useState({ user: "", display: "", email: "", tier: "" })
  const change = (part: Partial<typeof form>) => setForm((all) => ({ ...all, ...part }))
  const create = useMutation({
    mutationFn: () =>
      api.users.create(
        {},
        {
          user: form.user,
          ...(form.display.trim() ? { display_name: form.display.trim() } : {}),
          ...(form.email.trim() ? { email: form.email.trim() } : {}),
          ...(form.tier ? { tier: form.tier } : {}),
        },
      ),
    onSuccess: () => queryClient.invalidateQueries({ queryKey: ["users"] }),
  })
  if (create.data)
    return (
      <Stack>
        <Text size="sm">{t.admin.createdText(create.data.user)}</Text>
        <CopyField text={create.data.api_key} label={t.keys.keyOf(create.data.user)} />
        <Button onClick={onClose}>{t.done}</Button>
      </Stack>
    )
  const wrong = form.user !== "" && !NAME_PATTERN.test(form.user)
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        if (form.user && !wrong) create.mutate()
      }}
    >
      <Stack>
        <TextInput
          label={t.welcome.userName}
          description={t.names.rule}
          value={form.user}
          onChange={(e) => change({ user: e.currentTarget.value.toLowerCase() })}
          error={wrong ? t.names.rule : null}
          data-autofocus
          autoComplete="off"
        />
        <TextInput
          label={t.admin.displayName}
          value={form.display}
          onChange={(e) => change({ display: e.currentTarget.value })}
        />
        <TextInput
          label={t.admin.email}
          type="email"
          value={form.email}
          onChange={(e) => change({ email: e.currentTarget.value })}
        />
        <NativeSelect
          label={t.admin.plan}
          value={form.tier || plans?.default || ""}
          onChange={(e) => change({ tier: e.currentTarget.value })}
          data={plans?.plans.map((p) => p.tier) ?? []}
        />
        {create.error ? (
          <Text size="sm" c="var(--mantine-color-error)" role="alert">
            {explain(create.error)}
          </Text>
        ) : null}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            {t.cancel}
          </Button>
          <Button type="submit" loading={create.isPending} disabled={!form.user || wrong}>
            {t.admin.create}
          </Button>
        </Group>
      </Stack>
    </form>
  )
}
