import type { ChatMessage } from "@autonomis/contract/chat.ts"
import { api } from "../api.ts"
import { t } from "../texts.ts"
import type { Place } from "./live.ts"
import type { QuestionImage } from "./turns.ts"

type ImageType = "image/png" | "image/jpeg" | "image/gif" | "image/webp"
const TYPES: readonly string[] = ["image/png", "image/jpeg", "image/gif", "image/webp"]
const MAX_IMAGES = 8
const MAX_BYTES = 5 * 1024 * 1024

export interface Attached {
  name: string
  mimeType: ImageType
  /** A `data:` address. */
  url: string
}

const isImage = (type: string): type is ImageType => TYPES.includes(type)

/** The pictures among some files that a message may bear; `error` says why others were left out. */
export async function readImages(
  files: Iterable<File>,
  already: number,
): Promise<{ images: Attached[]; error: string | null }> {
  const images: Attached[] = []
  let error: string | null = null
  for (const file of files) {
    if (!isImage(file.type)) error = t.chat.notAnImage(file.name)
    else if (file.size > MAX_BYTES) error = t.chat.imageTooLarge(file.name)
    else if (already + images.length >= MAX_IMAGES) error = t.chat.tooManyImages(MAX_IMAGES)
    else images.push({ name: file.name, mimeType: file.type, url: await dataUrl(file) })
  }
  return { images, error }
}

export function contentOf(text: string, images: readonly Attached[]): ChatMessage["content"] {
  if (images.length === 0) return text
  return [
    ...(text ? [{ type: "text" as const, text }] : []),
    ...images.map((image) => ({
      type: "image" as const,
      mime_type: image.mimeType,
      data: image.url.slice(image.url.indexOf(",") + 1),
    })),
  ]
}

/** The images of a message that was sent before, to be sent again; before it is cut, as they go with it. */
export function readAgain(
  place: Place,
  messageId: string | null,
  images: readonly QuestionImage[],
): Promise<Attached[]> {
  return Promise.all(
    images.map(async ({ mimeType, url, hash }, i) => {
      if (!isImage(mimeType)) throw new Error(`not a type of image: ${mimeType}`)
      const attached = { name: String(i + 1), mimeType }
      if (hash === null || messageId === null) return { ...attached, url }
      const response = await api.sessions.image({ ...place, id: messageId, hash })
      return { ...attached, url: await dataUrl(new Blob([await response.arrayBuffer()], { type: mimeType })) }
    }),
  )
}

function dataUrl(file: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader()
    reader.onload = () => resolve(String(reader.result))
    reader.onerror = () => reject(reader.error)
    reader.readAsDataURL(file)
  })
}
