import { lazy, memo, Suspense } from "react"
import { splitBlocks } from "./blocks.ts"

// Asked for as soon as there is a conversation, so that it is there when the network is not.
const loading = import("./rendered.tsx")
const Rendered = lazy(async () => ({ default: (await loading).Rendered }))

/** Markdown as elements, never as HTML. While it grows, only its last block is read again. */
export const Markdown = memo(function Markdown({ text, growing = false }: { text: string; growing?: boolean }) {
  const blocks = growing ? splitBlocks(text) : [text]
  return (
    <div className="at-md">
      <Suspense fallback={<p className="at-pre">{text}</p>}>
        {blocks.map((block, i) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: blocks only grow at the end
          <Rendered key={i} text={block} />
        ))}
      </Suspense>
    </div>
  )
})
