import { diffLines } from "diff"
import { t } from "../texts.ts"

/** What was added and taken away, line by line; said in words too, not by colour alone. */
export function Diff({ before, after }: { before: string; after: string }) {
  const parts = diffLines(before, after)
  if (parts.every((part) => !part.added && !part.removed)) return <p className="at-dimmed">{t.templates.same}</p>
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
    <pre className="at-diff" tabIndex={0}>
      {parts.map((part, i) => {
        const lines = part.value.replace(/\n$/, "").split("\n")
        const sign = part.added ? "+ " : part.removed ? "- " : "  "
        const name = part.added ? "at-added" : part.removed ? "at-removed" : undefined
        return (
          // biome-ignore lint/suspicious/noArrayIndexKey: computed anew from both texts each time
          <span key={i} className={name}>
            {lines.map((line) => `${sign}${line}\n`).join("")}
          </span>
        )
      })}
    </pre>
  )
}
