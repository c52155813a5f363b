import { Button, Menu, ScrollArea, TextInput } from "@mantine/core"
import { useDebouncedValue } from "@mantine/hooks"
import { keepPreviousData, useQuery } from "@tanstack/react-query"
import { useNavigate } from "@tanstack/react-router"
import { useState } from "react"
import { routes } from "../paths.ts"
import { someUsersQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { Icon } from "../ui/icon.tsx"

/** An administrator moves from one account's pages to another's. */
export function UserPicker({ current }: { current: string | null }) {
  const [text, setText] = useState("")
  const [q] = useDebouncedValue(text.trim(), 150)
  const [opened, setOpened] = useState(false)
  const navigate = useNavigate()
  const users = useQuery({ ...someUsersQuery(q), enabled: opened, placeholderData: keepPreviousData })
  if (current === null) return null
  const open = (user: string) => navigate({ to: routes.agents, params: { user } })
  return (
    <Menu opened={opened} onChange={setOpened} position="bottom-start" width={220} trapFocus={false}>
      <Menu.Target>
        <Button
          className="at-userpicker"
          variant="default"
          justify="space-between"
          rightSection={<Icon name="down" size={14} />}
          aria-label={t.nav.account_of(current)}
        >
          {current}
        </Button>
      </Menu.Target>
      <Menu.Dropdown>
        <TextInput
          m={4}
          size="xs"
          aria-label={t.nav.findUser}
          placeholder={t.nav.findUser}
          value={text}
          onChange={(e) => setText(e.currentTarget.value)}
          onKeyDown={(e) => {
            const first = users.data?.users[0]
            if (e.key !== "Enter" || first === undefined || q !== text.trim()) return
            e.preventDefault()
            setOpened(false)
            void open(first.user)
          }}
          data-autofocus
        />
        <ScrollArea.Autosize mah={260}>
          {users.data?.users.map((u) => (
            <Menu.Item key={u.user} onClick={() => open(u.user)}>
              {u.user}
            </Menu.Item>
          ))}
          {users.data?.users.length === 0 ? <Menu.Label>{t.admin.noMatch}</Menu.Label> : null}
          {users.data?.next_cursor ? <Menu.Label>{t.nav.typeForMore}</Menu.Label> : null}
        </ScrollArea.Autosize>
      </Menu.Dropdown>
    </Menu>
  )
}
