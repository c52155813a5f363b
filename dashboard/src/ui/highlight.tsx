import { common, createLowlight } from "lowlight"
import type { ReactNode } from "react"

const lowlight = createLowlight(common)

/** Code as coloured elements; a language that is not known stays plain. */
export function highlight(text: string, language: string): ReactNode {
  if (!lowlight.registered(language)) return text
  return lowlight.highlight(language, text).children.map(toReact)
}

type Tree = ReturnType<typeof lowlight.highlight>["children"][number]

function toReact(node: Tree, key: number): ReactNode {
  if (node.type === "text") return node.value
  if (node.type !== "element") return null
  const names = node.properties.className
  return (
    <span key={key} className={Array.isArray(names) ? names.join(" ") : undefined}>
      {node.children.map((child, i) => toReact(child as Tree, i))}
    </span>
  )
}
