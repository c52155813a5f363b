import { ActionIcon, Text, Tooltip } from "@mantine/core"
import { type ClipboardEvent, type DragEvent, type KeyboardEvent, useEffect, useRef, useState } from "react"
import { t } from "../texts.ts"
import { Icon } from "../ui/icon.tsx"
import { ChosenImages } from "./chosen-images.tsx"
import { type Attached, readImages } from "./images.ts"

/** The message box: Enter sends, Shift+Enter breaks the line, pictures come by button, paste or drop. */
export function Composer({
  placeKey,
  busy,
  stopping,
  onSend,
  onStop,
}: {
  /** The conversation; a draft is kept for each while the page is open. */
  placeKey: string
  busy: boolean
  stopping: boolean
  onSend: (text: string, images: Attached[]) => void
  onStop: () => void
}) {
  const [text, setText] = useState(() => drafts.get(placeKey) ?? "")
  const [images, setImages] = useState<Attached[]>([])
  const [error, setError] = useState<string | null>(null)
  const box = useRef<HTMLTextAreaElement>(null)
  const picker = useRef<HTMLInputElement>(null)

  useEffect(() => {
    setText(drafts.get(placeKey) ?? "")
    if (matchMedia("(pointer: fine)").matches) box.current?.focus()
  }, [placeKey])
  // biome-ignore lint/correctness/useExhaustiveDependencies: the height follows the text
  useEffect(() => {
    const area = box.current
    if (area === null) return
    area.style.height = "auto"
    area.style.height = `${Math.min(area.scrollHeight, 220)}px`
  }, [text])

  const change = (value: string) => {
    setText(value)
    drafts.set(placeKey, value)
  }
  const add = async (files: Iterable<File>) => {
    // A list of the browser's own is empty once its event is over.
    const read = await readImages([...files], images.length)
    setImages((all) => [...all, ...read.images])
    setError(read.error)
  }
  const send = () => {
    if (busy || (!text.trim() && images.length === 0)) return
    onSend(text.trim(), images)
    change("")
    setImages([])
    setError(null)
  }
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault()
      send()
    }
    if (event.key === "Escape" && busy) onStop()
  }
  const onPaste = (event: ClipboardEvent) => {
    if (event.clipboardData.files.length === 0) return
    event.preventDefault()
    void add(event.clipboardData.files)
  }
  const onDrop = (event: DragEvent) => {
    event.preventDefault()
    void add(event.dataTransfer.files)
  }

  return (
    <form
      className="at-composer"
      onSubmit={(event) => {
        event.preventDefault()
        send()
      }}
      onDragOver={(event) => event.preventDefault()}
      onDrop={onDrop}
    >
      <ChosenImages
        images={images.map(({ url, name }) => ({ url, label: name }))}
        onRemove={(i) => setImages((all) => all.filter((_, j) => j !== i))}
      />
      {error ? (
        <Text size="sm" c="var(--mantine-color-error)" role="alert">
          {error}
        </Text>
      ) : null}
      <div className="at-composer-row">
        <input
          ref={picker}
          type="file"
          accept="image/png,image/jpeg,image/gif,image/webp"
          multiple
          hidden
          onChange={(event) => {
            void add(event.currentTarget.files ?? [])
            event.currentTarget.value = ""
          }}
        />
        <Tooltip label={t.chat.addImage}>
          <ActionIcon
            variant="subtle"
            color="gray"
            size="lg"
            aria-label={t.chat.addImage}
            onClick={() => picker.current?.click()}
          >
            <Icon name="image" />
          </ActionIcon>
        </Tooltip>
        <textarea
          ref={box}
          rows={1}
          aria-label={t.chat.box}
          placeholder={t.chat.placeholder}
          title={t.chat.boxHint}
          value={text}
          onChange={(event) => change(event.currentTarget.value)}
          onKeyDown={onKeyDown}
          onPaste={onPaste}
        />
        {busy ? (
          <Tooltip label={t.chat.stop}>
            <ActionIcon size="lg" color="red" aria-label={t.chat.stop} disabled={stopping} onClick={onStop}>
              <Icon name="stop" />
            </ActionIcon>
          </Tooltip>
        ) : (
          <Tooltip label={t.chat.send}>
            <ActionIcon type="submit" size="lg" aria-label={t.chat.send} disabled={!text.trim() && images.length === 0}>
              <Icon name="send" />
            </ActionIcon>
          </Tooltip>
        )}
      </div>
    </form>
  )
}

const drafts = new Map<string, string>()
