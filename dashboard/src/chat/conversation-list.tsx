import { ActionIcon, Button, NativeSelect, Text, TextInput } from "@mantine/core"
import { useInfiniteQuery, useMutation, useQuery } from "@tanstack/react-query"
import { Link, useNavigate } from "@tanstack/react-router"
import { useState } from "react"
import { api, queryClient } from "../api.ts"
import { routes } from "../paths.ts"
import { agentsQuery, sessionsQuery } from "../queries.ts"
import { t } from "../texts.ts"
import { Confirm } from "../ui/confirm.tsx"
import { Icon } from "../ui/icon.tsx"
import { Loaded } from "../ui/states.tsx"
import { Ago } from "../ui/time.tsx"
import { toastError } from "../ui/toast.ts"

export function ConversationList({
  user,
  agent,
  session,
  switchable,
  onChoose,
}: {
  user: string
  agent: string
  session: string | null
  /** An agent's own key sees no other agent. */
  switchable: boolean
  onChoose: () => void
}) {
  const navigate = useNavigate()
  const [q, setQ] = useState("")
  const [deleting, setDeleting] = useState<string | null>(null)
  const sessions = useInfiniteQuery(sessionsQuery(user, agent))
  const remove = useMutation({
    mutationFn: (name: string) => api.sessions.delete({ user, agent, session: name }),
    onError: toastError,
    onSuccess: async (_, name) => {
      setDeleting(null)
      if (name === session) await navigate({ to: routes.chatAgent, params: { user, agent } })
      queryClient.removeQueries({ queryKey: ["session", user, agent, name] })
      await queryClient.invalidateQueries({ queryKey: sessionsQuery(user, agent).queryKey })
    },
  })
  return (
    <div className="at-conversations">
      {switchable ? <AgentSelect user={user} agent={agent} /> : null}
      <Button
        fullWidth
        variant="light"
        leftSection={<Icon name="plus" size={16} />}
        onClick={() => {
          onChoose()
          void navigate({ to: routes.chatAgent, params: { user, agent } })
        }}
      >
        {t.chat.fresh}
      </Button>
      <Loaded query={sessions}>
        {({ pages }) => {
          const list = pages.flatMap((page) => page.sessions)
          const shown = list.filter((s) => s.title.toLowerCase().includes(q.toLowerCase()))
          return (
            <>
              {list.length > 8 ? (
                <TextInput
                  size="xs"
                  aria-label={t.chat.find}
                  placeholder={t.chat.find}
                  value={q}
                  onChange={(e) => setQ(e.currentTarget.value)}
                />
              ) : null}
              {list.length === 0 ? (
                <Text size="sm" c="dimmed">
                  {t.chat.noConversations}
                </Text>
              ) : null}
              <ul className="at-conversation-list">
                {shown.map((s) => (
                  <li key={s.session} className={s.session === session ? "at-current" : undefined}>
                    <Link
                      to={routes.chatSession}
                      params={{ user, agent, session: s.session }}
                      onClick={onChoose}
                      activeProps={{ "aria-current": "page" }}
                    >
                      <span className="at-conversation-title">{s.title || s.session}</span>
                      <span className="at-conversation-time">
                        <Ago time={s.updated_at} />
                      </span>
                    </Link>
                    <ActionIcon
                      className="at-quiet"
                      variant="subtle"
                      color="gray"
                      aria-label={t.chat.deleteOne(s.title || s.session)}
                      onClick={() => setDeleting(s.session)}
                    >
                      <Icon name="trash" size={15} />
                    </ActionIcon>
                  </li>
                ))}
              </ul>
              {list.length > 0 && shown.length === 0 ? (
                <Text size="sm" c="dimmed">
                  {t.chat.noneFound}
                </Text>
              ) : null}
              {sessions.hasNextPage ? (
                <Button
                  variant="default"
                  size="xs"
                  loading={sessions.isFetchingNextPage}
                  onClick={() => sessions.fetchNextPage().then(({ error }) => error && toastError(error))}
                >
                  {t.chat.older}
                </Button>
              ) : null}
            </>
          )
        }}
      </Loaded>
      <Confirm
        opened={deleting !== null}
        title={t.chat.deleteTitle}
        text={t.chat.deleteText}
        action={t.delete}
        busy={remove.isPending}
        onConfirm={() => deleting !== null && remove.mutate(deleting)}
        onClose={() => setDeleting(null)}
      />
    </div>
  )
}

function AgentSelect({ user, agent }: { user: string; agent: string }) {
  const navigate = useNavigate()
  const agents = useQuery(agentsQuery(user)).data ?? []
  const names = agents.map((a) => a.name)
  return (
    <NativeSelect
      label={t.chat.agent}
      value={agent}
      data={names.includes(agent) ? names : [agent, ...names]}
      onChange={(e) => navigate({ to: routes.chatAgent, params: { user, agent: e.currentTarget.value } })}
    />
  )
}
