import { Button, Group, Modal } from "@mantine/core"
import { useState } from "react"
import { t } from "../texts.ts"
import { Icon } from "./icon.tsx"

/** An image at a size that a conversation bears; it is fetched when it comes near, and shown whole when clicked. */
export function Picture({ src, label }: { src: string; label: string }) {
  const [open, setOpen] = useState(false)
  const [attempt, setAttempt] = useState(0)
  const [failed, setFailed] = useState(false)
  if (failed)
    return (
      <Button
        size="xs"
        variant="default"
        leftSection={<Icon name="image" size={14} />}
        onClick={() => {
          setAttempt((n) => n + 1)
          setFailed(false)
        }}
      >
        {t.chat.imageFailed}
      </Button>
    )
  return (
    <>
      <button type="button" className="at-picture" aria-label={t.chat.enlarge(label)} onClick={() => setOpen(true)}>
        <img key={attempt} src={src} alt={label} loading="lazy" decoding="async" onError={() => setFailed(true)} />
      </button>
      <Modal opened={open} onClose={() => setOpen(false)} title={label} size="auto" className="at-enlarged">
        <img src={src} alt={label} />
        <Group justify="flex-end" mt="sm">
          <Button
            size="xs"
            variant="default"
            component="a"
            href={src}
            download
            leftSection={<Icon name="download" size={14} />}
          >
            {t.files.download}
          </Button>
        </Group>
      </Modal>
    </>
  )
}
