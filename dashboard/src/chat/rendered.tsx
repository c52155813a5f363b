import { memo } from "react"
import ReactMarkdown, { type Components } from "react-markdown"
import remarkGfm from "remark-gfm"
import { t } from "../texts.ts"
import { Code } from "../ui/code.tsx"

const PLUGINS = [remarkGfm]

const COMPONENTS: Components = {
  // A picture of somebody else's server would tell it who reads what: it is a link instead.
  img: ({ src, alt }) => <Outside href={typeof src === "string" ? src : undefined}>{alt || t.chat.picture}</Outside>,
  a: ({ href, children }) => <Outside href={href}>{children}</Outside>,
  pre: ({ children }) => <>{children}</>,
  code: ({ className, children }) => {
    const text = String(children ?? "")
    const language = /language-([\w+#.-]+)/.exec(className ?? "")?.[1]
    if (language === undefined && !text.includes("\n")) return <code className="at-inline">{children}</code>
    return <Code text={text.replace(/\n$/, "")} language={language ?? null} />
  },
  table: ({ children }) => (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
    <section className="at-table-scroll" tabIndex={0} aria-label={t.chat.table}>
      <table>{children}</table>
    </section>
  ),
  input: ({ checked }) => (
    <input type="checkbox" checked={checked === true} readOnly disabled aria-label={t.chat.task} />
  ),
}

function Outside({ href, children }: { href: string | undefined; children?: React.ReactNode }) {
  if (!href || !/^(https?:|mailto:)/i.test(href)) return <span>{children}</span>
  return (
    <a href={href} target="_blank" rel="noreferrer noopener">
      {children}
    </a>
  )
}

export const Rendered = memo(function Rendered({ text }: { text: string }) {
  return (
    <ReactMarkdown remarkPlugins={PLUGINS} components={COMPONENTS} skipHtml={false}>
      {text}
    </ReactMarkdown>
  )
})
