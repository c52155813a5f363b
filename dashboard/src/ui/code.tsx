import { memo, type ReactNode, useEffect, useState } from "react"
import { t } from "../texts.ts"
import { CopyIcon } from "./copy.tsx"

/** Longer than this it is shown plain: colours are not worth a frozen page. */
const MOST_CHARACTERS = 60_000

/** A block of code with its language and a copy button; colours come once the highlighter has been fetched. */
export const Code = memo(function Code({ text, language }: { text: string; language: string | null }) {
  const [coloured, setColoured] = useState<{ of: string; as: ReactNode } | null>(null)
  useEffect(() => {
    if (language === null || text.length > MOST_CHARACTERS) return
    let current = true
    const timer = setTimeout(async () => {
      const { highlight } = await import("./highlight.tsx")
      if (current) setColoured({ of: text, as: highlight(text, language) })
    }, 60)
    return () => {
      current = false
      clearTimeout(timer)
    }
  }, [text, language])
  return (
    <figure className="at-code">
      <figcaption>
        <span>{language ?? t.chat.plainText}</span>
        <CopyIcon text={text} label={t.chat.copyCode} />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <pre tabIndex={0}>
        <code>{coloured?.of === text ? coloured.as : text}</code>
      </pre>
    </figure>
  )
})
