import { ActionIcon, Button, Group, Text, Textarea, Tooltip } from "@mantine/core"
import { useState } from "react"
import { t } from "../texts.ts"
import { Icon } from "../ui/icon.tsx"
import { Picture } from "../ui/picture.tsx"
import { fullTime } from "../ui/time.tsx"
import { ChosenImages } from "./chosen-images.tsx"
import type { Actions } from "./turn-view.tsx"
import type { Turn } from "./turns.ts"

type Question = NonNullable<Turn["question"]>
interface Props {
  turn: Turn
  question: Question
  busy: boolean
  actions: Actions
}

/** What the user said, with its images; it can be changed and sent again. */
export function QuestionView(props: Props) {
  const [editing, setEditing] = useState(false)
  const { turn, question, busy } = props
  if (editing) return <QuestionForm {...props} onClose={() => setEditing(false)} />
  return (
    <div className="at-question-row">
      {turn.messageId ? (
        <Tooltip label={t.chat.edit}>
          <ActionIcon
            className="at-quiet"
            variant="subtle"
            color="gray"
            aria-label={t.chat.edit}
            disabled={busy}
            onClick={() => setEditing(true)}
          >
            <Icon name="edit" size={15} />
          </ActionIcon>
        </Tooltip>
      ) : null}
      <div className="at-question" title={turn.time ? fullTime(turn.time) : undefined}>
        {question.images.length > 0 ? (
          <div className="at-pictures">
            {question.images.map((image, i) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: the list never changes
              <Picture key={i} src={image.url} label={t.chat.imageOf(i + 1, question.images.length)} />
            ))}
          </div>
        ) : null}
        {question.text ? <p className="at-pre">{question.text}</p> : null}
      </div>
    </div>
  )
}

function QuestionForm({ turn, question, busy, actions, onClose }: Props & { onClose: () => void }) {
  const [text, setText] = useState(question.text)
  const [images, setImages] = useState(question.images)
  const empty = !text.trim() && images.length === 0
  return (
    <form
      className="at-question at-question-edit"
      onSubmit={(event) => {
        event.preventDefault()
        if (empty || busy) return
        onClose()
        actions.again(turn, { text: text.trim(), images })
      }}
    >
      <ChosenImages
        images={images.map(({ url }, i) => ({ url, label: t.chat.imageOf(i + 1, images.length) }))}
        onRemove={(i) => setImages((all) => all.filter((_, j) => j !== i))}
      />
      <Textarea
        aria-label={t.chat.editText}
        value={text}
        onChange={(e) => setText(e.currentTarget.value)}
        autosize
        maxRows={12}
        autoFocus
        onKeyDown={(e) => {
          if (e.key === "Escape") onClose()
        }}
      />
      <Text size="xs" c="dimmed">
        {t.chat.editHint}
      </Text>
      <Group gap="xs" justify="flex-end">
        <Button size="xs" variant="default" onClick={onClose}>
          {t.cancel}
        </Button>
        <Button size="xs" type="submit" disabled={busy || empty}>
          {t.chat.resend}
        </Button>
      </Group>
    </form>
  )
}
