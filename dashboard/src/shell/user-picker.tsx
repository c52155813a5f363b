import { Button, Popover, Text, TextInput } from "@mantine/core"
import { useDebouncedValue } from "@mantine/hooks"
import { keepPreviousData, useQuery } from "@tanstack/react-query"
import { Link, useNavigate } from "@tanstack/react-router"
import { useState } from "react"
import { routes } from "../paths.ts"
import { someUsersQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { Icon } from "../ui/icon.tsx"

/** An administrator moves from one account's pages to another's. */
export function UserPicker({ current }: { current: string | null }) {
  const [opened, setOpened] = useState(false)
  if (current === null) return null
  return (
    <Popover
      opened={opened}
      onChange={setOpened}
      position="bottom-start"
      width={240}
      trapFocus
      returnFocus
      withinPortal={false}
    >
      <Popover.Target>
        <Button
          className="at-userpicker"
          variant="default"
          justify="space-between"
          rightSection={<Icon name="down" size={14} />}
          aria-label={t.nav.account_of(current)}
          onClick={() => setOpened((was) => !was)}
        >
          {current}
        </Button>
      </Popover.Target>
      <Popover.Dropdown p={6} aria-label={t.nav.findUser}>
        <Choice current={current} onClose={() => setOpened(false)} />
      </Popover.Dropdown>
    </Popover>
  )
}

/** The first users that match; Enter takes the first of them. */
function Choice({ current, onClose }: { current: string; onClose: () => void }) {
  const [text, setText] = useState("")
  const [q] = useDebouncedValue(text.trim(), 150)
  const navigate = useNavigate()
  const { data } = useQuery({ ...someUsersQuery(q), placeholderData: keepPreviousData })
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault()
        const first = data?.users[0]
        if (first === undefined || q !== text.trim()) return
        onClose()
        void navigate({ to: routes.agents, params: { user: first.user } })
      }}
    >
      <TextInput
        size="xs"
        mb={6}
        aria-label={t.nav.findUser}
        placeholder={t.nav.findUser}
        value={text}
        onChange={(e) => setText(e.currentTarget.value)}
        autoComplete="off"
        data-autofocus
      />
      <ul className="at-choice-list">
        {data?.users.map(({ user }) => (
          <li key={user}>
            <Link
              to={routes.agents}
              params={{ user }}
              className="at-navlink"
              aria-current={user === current ? "true" : undefined}
              onClick={onClose}
            >
              <span className="at-ellipsis">{user}</span>
            </Link>
          </li>
        ))}
      </ul>
      {data?.users.length === 0 ? <Note text={t.admin.noMatch} /> : null}
      {data?.next_cursor ? <Note text={t.nav.typeForMore} /> : null}
    </form>
  )
}

function Note({ text }: { text: string }) {
  return (
    <Text size="xs" c="dimmed" p={6} role="status">
      {text}
    </Text>
  )
}
