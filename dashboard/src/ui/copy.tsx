import { ActionIcon, Tooltip } from "@mantine/core"
import { useState } from "react"
import { t } from "../texts.ts"
import { Icon } from "./icon.tsx"

/** Copies; also in pages served over plain http, where the clipboard's own interface is missing. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    const area = document.createElement("textarea")
    area.value = text
    area.setAttribute("readonly", "")
    area.className = "at-offscreen"
    document.body.append(area)
    area.select()
    const done = document.execCommand("copy")
    area.remove()
    return done
  }
}

function useCopy(text: string) {
  const [copied, setCopied] = useState(false)
  const copy = async () => {
    if (!(await copyText(text))) return
    setCopied(true)
    setTimeout(() => setCopied(false), 1500)
  }
  return { copied, copy }
}

export function CopyIcon({ text, label = t.copy }: { text: string; label?: string }) {
  const { copied, copy } = useCopy(text)
  return (
    <Tooltip label={copied ? t.copied : label}>
      <ActionIcon variant="subtle" color="gray" aria-label={label} onClick={copy}>
        <Icon name={copied ? "check" : "copy"} size={16} />
      </ActionIcon>
    </Tooltip>
  )
}

/** A secret or a snippet that is to be taken along. */
export function CopyField({ text, label }: { text: string; label: string }) {
  return (
    <fieldset className="at-copyfield" aria-label={label}>
      <code>{text}</code>
      <CopyIcon text={text} label={`${t.copy} ${label.toLowerCase()}`} />
    </fieldset>
  )
}
