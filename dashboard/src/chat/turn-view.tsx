import { ActionIcon, Badge, Button, Group, Loader, Text, Tooltip } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { memo } from "react"
import { explain } from "../api.ts"
import { t } from "../texts.ts"
import { CopyIcon } from "../ui/copy.tsx"
import { Icon } from "../ui/icon.tsx"
import { CostLine } from "./cost-line.tsx"
import type { Live, Place } from "./live.ts"
import { Markdown } from "./markdown.tsx"
import { QuestionView } from "./question-view.tsx"
import { ToolCard } from "./tool-card.tsx"
import type { Part, Turn } from "./turns.ts"
import { failureKey, type RunFailure } from "./use-conversation.ts"

export interface Actions {
  /** Cuts the conversation at this turn and asks again, with another question if one is given. */
  again: (turn: Turn, question?: NonNullable<Turn["question"]>) => void
  dismiss: () => void
}

/** A question and its answer. */
export const TurnView = memo(function TurnView({
  turn,
  live,
  last,
  place,
  demo,
  busy,
  actions,
}: {
  turn: Turn
  /** Set for the turn whose run is read now. */
  live: Live | undefined
  last: boolean
  /** Of one object while it stays the same. */
  place: Place
  demo: boolean
  busy: boolean
  actions: Actions
}) {
  const running = live !== undefined && live.failure === null && live.answer.end === null
  const answer = turn.parts.flatMap((part) => (part.kind === "text" ? [part.text] : [])).join("\n\n")
  return (
    <article className="at-turn">
      {turn.question ? <QuestionView turn={turn} question={turn.question} busy={busy} actions={actions} /> : null}
      {turn.parts.length > 0 || running ? (
        <div className="at-answer">
          <Group gap={6} className="at-answer-head">
            <strong>{place.agent}</strong>
            {(turn.model?.startsWith("demo/") ?? demo) ? (
              <Badge size="sm" color="yellow" variant="light">
                {t.chat.demo}
              </Badge>
            ) : null}
          </Group>
          {turn.parts.map((part, i) => (
            <PartView
              // biome-ignore lint/suspicious/noArrayIndexKey: parts only grow at the end
              key={i}
              part={part}
              growing={running && i === turn.parts.length - 1}
              place={place}
            />
          ))}
          {running ? <Waiting live={live} /> : null}
        </div>
      ) : null}
      {live ? <Trouble live={live} turn={turn} actions={actions} /> : null}
      {!running && live === undefined && turn.runId !== null ? <EndedBadly runId={turn.runId} /> : null}
      {!running && (turn.parts.length > 0 || (last && live === undefined)) ? (
        <Group gap={4} className="at-answer-foot">
          {answer ? <CopyIcon text={answer} label={t.chat.copyAnswer} /> : null}
          {last && turn.messageId && turn.question ? (
            <Tooltip label={t.chat.retry}>
              <ActionIcon
                variant="subtle"
                color="gray"
                aria-label={t.chat.retry}
                disabled={busy}
                onClick={() => actions.again(turn)}
              >
                <Icon name="retry" size={16} />
              </ActionIcon>
            </Tooltip>
          ) : null}
          {turn.usage ? <CostLine usage={turn.usage} /> : null}
        </Group>
      ) : null}
    </article>
  )
})

function Waiting({ live }: { live: Live }) {
  if (live.connection === "lost")
    return (
      <Text size="sm" c="dimmed" role="status" className="at-waiting">
        <Icon name="warning" size={15} /> {live.answer.runId === null ? t.chat.notTaken : t.chat.reconnecting}
      </Text>
    )
  return (
    <div className="at-waiting">
      <Loader type="dots" size={22} color="gray" aria-hidden />
      <span className="at-hidden">{t.chat.answering}</span>
    </div>
  )
}

/** Why there is no answer, and what can be done. */
function Trouble({ live, turn, actions }: { live: Live; turn: Turn; actions: Actions }) {
  const { end } = live.answer
  if (live.failure !== null)
    return (
      <div className="at-trouble" role="alert">
        <Text size="sm">{explain(live.failure)}</Text>
        <Group gap="xs">
          <Button size="xs" variant="default" onClick={() => actions.again(turn)}>
            {t.chat.sendAgain}
          </Button>
          <Button size="xs" variant="subtle" color="gray" onClick={actions.dismiss}>
            {t.chat.dismiss}
          </Button>
        </Group>
      </div>
    )
  return end?.kind === "error" ? <Reason code={end.code} error={end.error} /> : null
}

/** How a stored run ended, if it was seen to end without an answer. */
function EndedBadly({ runId }: { runId: string }) {
  const { data } = useQuery<RunFailure | null>({ queryKey: failureKey(runId), queryFn: () => null, enabled: false })
  return data ? <Reason code={data.code} error={data.error} /> : null
}

function Reason({ code, error }: RunFailure) {
  if (code === "cancelled")
    return (
      <Text size="sm" c="dimmed" role="status">
        {t.chat.stopped}
      </Text>
    )
  return (
    <div className="at-trouble" role="alert">
      <Text size="sm">{t.chat.runFailed(error)}</Text>
    </div>
  )
}

function PartView({ part, growing, place }: { part: Part; growing: boolean; place: Place }) {
  if (part.kind === "tool") return <ToolCard tool={part} place={place} />
  if (part.kind === "text") return <Markdown text={part.text} growing={growing} />
  const title = part.kind === "summary" ? t.chat.summary : growing ? t.chat.thinkingNow : t.chat.thinking
  return (
    <details className="at-thinking">
      <summary>
        <Icon name="brain" size={15} /> {title}
      </summary>
      <Markdown text={part.text} growing={growing} />
    </details>
  )
}
