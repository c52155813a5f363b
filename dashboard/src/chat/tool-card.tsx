import { Badge, Loader } from "@mantine/core"
import { Link } from "@tanstack/react-router"
import { memo, useEffect, useState } from "react"
import { pathTo, routes } from "../paths.ts"
import { t } from "../texts.ts"
import { Code } from "../ui/code.tsx"
import { duration } from "../ui/format.ts"
import { Icon } from "../ui/icon.tsx"
import { Picture } from "../ui/picture.tsx"
import type { Place } from "./live.ts"
import type { ToolPart } from "./turns.ts"

/** Tools whose `path` is a file of the workspace. */
const FILE_TOOLS = new Set(["read", "write", "edit"])

/** What stands in a result's text for an image that is shown beside it. */
const IMAGE_LINES = /^\[image\/\w+\]\n?/gm

/** One tool call: what was asked, what it said while it ran, how long it took, what came of it. */
export const ToolCard = memo(function ToolCard({ tool, place }: { tool: ToolPart; place: Place }) {
  const { user, agent, session } = place
  const running = tool.result === null
  const [open, setOpen] = useState(running && tool.name === "bash")
  // Output that comes while one looks on is worth seeing; afterwards the card is small again.
  useEffect(() => {
    if (running) setOpen(tool.name === "bash")
    else setOpen((was) => was && tool.isError)
  }, [running, tool.isError, tool.name])
  const result = tool.images.length > 0 ? tool.result?.replace(IMAGE_LINES, "").trimEnd() : tool.result
  const path =
    FILE_TOOLS.has(tool.name) && typeof tool.arguments.path === "string" ? inWorkspace(tool.arguments.path) : null
  return (
    <div className={tool.isError ? "at-tool at-tool-failed" : "at-tool"}>
      <details open={open} onToggle={(e) => setOpen(e.currentTarget.open)}>
        <summary>
          <span className="at-tool-icon">
            {running ? <Loader size={14} aria-hidden /> : <Icon name="tool" size={15} />}
          </span>
          <strong>{t.chat.toolName(tool.name)}</strong>
          <span className="at-tool-hint">{summary(tool)}</span>
          {tool.isError ? (
            <Badge color="red" variant="light" size="sm">
              {t.chat.failed}
            </Badge>
          ) : null}
          <span className="at-tool-time">{tool.durationMs === null ? t.chat.running : duration(tool.durationMs)}</span>
        </summary>
        {open ? (
          <div className="at-tool-body">
            <ToolInput tool={tool} />
            {tool.output && running ? <Code text={tail(tool.output)} language={null} /> : null}
            {result ? <Code text={result} language={null} /> : null}
          </div>
        ) : null}
      </details>
      {tool.images.length > 0 ? (
        <div className="at-pictures at-tool-pictures">
          {tool.images.map(({ message_id, hash }, i) => (
            <Picture
              // biome-ignore lint/suspicious/noArrayIndexKey: the list never changes
              key={i}
              src={pathTo.image(user, agent, session, message_id, hash)}
              label={t.chat.toolImage(i + 1, tool.images.length)}
            />
          ))}
        </div>
      ) : null}
      {path !== null && !running && !tool.isError ? (
        <Link to={routes.agentTab} params={{ user, agent, tab: "files" }} search={{ path }} className="at-tool-file">
          <Icon name="file" size={14} /> {path}
        </Link>
      ) : null}
    </div>
  )
})

function ToolInput({ tool }: { tool: ToolPart }) {
  const { command, content, ...rest } = tool.arguments
  if (tool.name === "bash" && typeof command === "string") return <Code text={command} language="bash" />
  if (tool.name === "write" && typeof content === "string")
    return <Code text={content} language={languageOf(rest.path)} />
  return <Code text={JSON.stringify(tool.arguments, null, 2)} language="json" />
}

function languageOf(path: unknown): string | null {
  const ending = typeof path === "string" ? (/\.(\w+)$/.exec(path)?.[1] ?? null) : null
  const names: Record<string, string> = {
    py: "python",
    js: "javascript",
    ts: "typescript",
    sh: "bash",
    md: "markdown",
    yml: "yaml",
  }
  return ending === null ? null : (names[ending] ?? ending)
}

function summary(tool: ToolPart): string {
  const { command, path } = tool.arguments
  const text = typeof command === "string" ? command : typeof path === "string" ? path : ""
  const [line = ""] = text.split("\n", 1)
  return line.length > 90 ? `${line.slice(0, 89)}…` : line
}

/** The end of a long output: what happens now. */
function tail(output: string): string {
  return output.length > 8000 ? `…${output.slice(-8000)}` : output
}

/** A path as the file pages know it: below the workspace, without a leading slash. */
function inWorkspace(path: string): string | null {
  const relative = path.replace(/^\/work\//, "").replace(/^\.\//, "")
  return relative.startsWith("/") || relative.split("/").includes("..") ? null : relative
}
