import { isApiError } from "@autonomis/sdk/errors.ts"
import { Button, Drawer, Text, Title } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { Navigate, useNavigate, useParams } from "@tanstack/react-router"
import { useCallback, useEffect, useMemo, useRef, useState } from "react"
import { AgentGone } from "../agent/agent-gone.tsx"
import { api } from "../api.ts"
import { Composer } from "../chat/composer.tsx"
import { ConversationList } from "../chat/conversation-list.tsx"
import { type Attached, contentOf, readAgain } from "../chat/images.ts"
import { TurnList } from "../chat/turn-list.tsx"
import { TurnView } from "../chat/turn-view.tsx"
import type { Turn } from "../chat/turns.ts"
import { liveRuns, useConversation } from "../chat/use-conversation.ts"
import { routes } from "../paths.ts"
import { agentQuery, agentsQuery, meQuery } from "../queries.ts"
import { STARTING_POINTS } from "../starting-points.ts"
import { t } from "../texts.ts"
import { Icon } from "../ui/icon.tsx"
import { usePageTitle } from "../ui/page.tsx"
import { Empty, Failure, Loaded } from "../ui/states.tsx"
import { toastError } from "../ui/toast.ts"

/** `/chat` goes on with an agent, `/chat/{agent}` is a new conversation, `/chat/{agent}/{session}` one that stands. */
export function ChatPage() {
  const params: { user?: string; agent?: string; session?: string } = useParams({ strict: false })
  const user = params.user ?? ""
  usePageTitle(...(params.agent === undefined ? [] : [params.agent]), t.nav.chat)
  if (params.agent === undefined) return <ChooseAgent user={user} />
  return <AgentChat key={`${user}/${params.agent}`} user={user} agent={params.agent} session={params.session ?? null} />
}

function ChooseAgent({ user }: { user: string }) {
  const agents = useQuery(agentsQuery(user))
  const navigate = useNavigate()
  return (
    <Loaded query={agents}>
      {(list) => {
        const agent = list.find((a) => a.default) ?? list[0]
        if (agent) return <Navigate to={routes.chatAgent} params={{ user, agent: agent.name }} replace />
        return (
          <div className="at-page">
            <Empty whole icon="agents" title={t.chat.noAgentTitle} text={t.chat.noAgentText}>
              <Button onClick={() => navigate({ to: routes.newAgents, params: { user } })}>{t.agents.create}</Button>
            </Empty>
          </div>
        )
      }}
    </Loaded>
  )
}

function AgentChat({ user, agent, session }: { user: string; agent: string; session: string | null }) {
  const [listOpen, setListOpen] = useState(false)
  const [fresh, setFresh] = useState(newSession)
  const info = useQuery(agentQuery(user, agent))
  const me = useQuery(meQuery).data
  const current = session ?? fresh
  // A new conversation begins when its address is opened again.
  useEffect(() => {
    if (session === null) setFresh(newSession())
  }, [session])
  if (info.error && isApiError(info.error, "not_found")) return <AgentGone user={user} agent={agent} />
  if (info.error)
    return (
      <div className="at-page">
        <Failure error={info.error} retry={() => info.refetch()} />
      </div>
    )
  const list = (
    <ConversationList
      user={user}
      agent={agent}
      session={session}
      switchable={me?.kind !== "agent"}
      onChoose={() => setListOpen(false)}
    />
  )
  return (
    <div className="at-chat">
      <aside className="at-chat-list" aria-label={t.chat.conversations}>
        {list}
      </aside>
      <Drawer opened={listOpen} onClose={() => setListOpen(false)} title={t.chat.conversations} size="xs">
        {list}
      </Drawer>
      <section className="at-chat-main" aria-label={t.chat.with(agent)}>
        <header className="at-chat-head">
          <Button
            className="at-phone-only"
            variant="subtle"
            color="gray"
            size="compact-sm"
            leftSection={<Icon name="menu" size={16} />}
            onClick={() => setListOpen(true)}
          >
            {t.chat.conversations}
          </Button>
          <h1 className="at-chat-title">{agent}</h1>
          <Text size="sm" c="dimmed" truncate>
            {info.data?.model === "demo/demo" ? t.chat.demoModel : info.data?.model}
          </Text>
        </header>
        <Talk
          key={current}
          user={user}
          agent={agent}
          session={current}
          saved={session !== null}
          demo={info.data?.model.startsWith("demo/") ?? false}
        />
      </section>
    </div>
  )
}

/** A name for a new conversation: sortable by time, unlike any other. */
function newSession(): string {
  const random = Array.from(crypto.getRandomValues(new Uint8Array(5)), (b) => b.toString(36)).join("")
  return `c-${Date.now().toString(36)}-${random.slice(0, 8)}`
}

function Talk({
  user,
  agent,
  session,
  saved,
  demo,
}: {
  user: string
  agent: string
  session: string
  saved: boolean
  demo: boolean
}) {
  const navigate = useNavigate()
  const place = useMemo(() => ({ user, agent, session }), [user, agent, session])
  const { turns, live, query } = useConversation(place, saved)
  const busy = live !== undefined && live.failure === null

  const ask = useCallback(
    (text: string, images: readonly Attached[]) => {
      const shown = images.map(({ mimeType, url }) => ({ mimeType, url, hash: null }))
      liveRuns.send(place, { text, images: shown }, contentOf(text, images))
      if (!saved) void navigate({ to: routes.chatSession, params: place, replace: true })
    },
    [place, saved, navigate],
  )
  const cutting = useRef(false)
  const again = useCallback(
    async (turn: Turn, question = turn.question) => {
      if (question === null || cutting.current) return
      cutting.current = true
      try {
        const images = await readAgain(place, turn.messageId, question.images)
        if (turn.messageId !== null) {
          await api.sessions.cut({ ...place, id: turn.messageId })
          await query.refetch()
        }
        liveRuns.forget(place)
        ask(question.text, images)
      } catch (error) {
        toastError(error)
      } finally {
        cutting.current = false
      }
    },
    [place, ask, query.refetch],
  )
  const actions = useMemo(() => ({ again, dismiss: () => liveRuns.forget(place) }), [again, place])

  if (query.error && query.data === undefined)
    return (
      <div className="at-page">
        <Failure error={query.error} retry={() => query.refetch()} />
      </div>
    )
  return (
    <>
      <TurnList
        turns={turns}
        following={live?.answer}
        empty={
          saved && query.data === undefined ? null : (
            <Openers agent={agent} demo={demo} user={user} onAsk={(text) => ask(text, [])} />
          )
        }
      >
        {(turn, last) => (
          <TurnView
            turn={turn}
            live={last ? live : undefined}
            last={last}
            place={place}
            demo={demo}
            busy={busy}
            actions={actions}
          />
        )}
      </TurnList>
      <Composer
        placeKey={`${user}/${agent}/${session}`}
        busy={busy}
        stopping={live?.stopping ?? false}
        onSend={ask}
        onStop={() => liveRuns.stop(place)}
      />
    </>
  )
}

/** An empty conversation says what could be asked, and what the demo model is. */
function Openers({
  user,
  agent,
  demo,
  onAsk,
}: {
  user: string
  agent: string
  demo: boolean
  onAsk: (text: string) => void
}) {
  const navigate = useNavigate()
  return (
    <div className="at-openers">
      <Title order={2}>{t.chat.emptyTitle(agent)}</Title>
      <Text c="dimmed">{t.chat.emptyText}</Text>
      <div className="at-opener-list">
        {STARTING_POINTS.slice(0, 4).map((point) => (
          <Button key={point.id} variant="default" radius="xl" size="sm" onClick={() => onAsk(point.opener)}>
            {point.opener}
          </Button>
        ))}
      </div>
      {demo ? (
        <div className="at-card at-demo-note">
          <Text size="sm">{t.chat.demoNote}</Text>
          <Button size="xs" variant="light" onClick={() => navigate({ to: routes.secrets, params: { user } })}>
            {t.chat.addKey}
          </Button>
        </div>
      ) : null}
    </div>
  )
}
