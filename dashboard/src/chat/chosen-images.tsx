import { ActionIcon } from "@mantine/core"
import { t } from "../texts.ts"
import { Icon } from "../ui/icon.tsx"

/** The images that a message will carry; each can be taken out. */
export function ChosenImages({
  images,
  onRemove,
}: {
  images: readonly { url: string; label: string }[]
  onRemove: (index: number) => void
}) {
  if (images.length === 0) return null
  return (
    <ul className="at-composer-images" aria-label={t.chat.images}>
      {images.map(({ url, label }, i) => (
        <li key={url}>
          <img src={url} alt={label} />
          <ActionIcon size="xs" color="dark" aria-label={t.chat.removeImage(label)} onClick={() => onRemove(i)}>
            <Icon name="close" size={10} />
          </ActionIcon>
        </li>
      ))}
    </ul>
  )
}
