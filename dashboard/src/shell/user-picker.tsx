import { Button, Menu, ScrollArea, TextInput } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useNavigate } from "@tanstack/react-router"
import { useState } from "react"
import { routes } from "../paths.ts"
import { usersQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { Icon } from "../ui/icon.tsx"

/** An administrator moves from one account's pages to another's. */
export function UserPicker({ current }: { current: string | null }) {
  const [q, setQ] = useState("")
  const [opened, setOpened] = useState(false)
  const navigate = useNavigate()
  const users = useQuery({ ...usersQuery(q), enabled: opened })
  if (current === null) return null
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
          value={q}
          onChange={(e) => setQ(e.currentTarget.value)}
          data-autofocus
        />
        <ScrollArea.Autosize mah={260}>
          {users.data?.users.map((u) => (
            <Menu.Item key={u.user} onClick={() => navigate({ to: routes.agents, params: { user: u.user } })}>
              {u.user}
            </Menu.Item>
          ))}
        </ScrollArea.Autosize>
      </Menu.Dropdown>
    </Menu>
  )
}
