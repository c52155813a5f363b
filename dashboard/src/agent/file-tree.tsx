import { useQuery } from "@tanstack/react-query"
import { useEffect, useState } from "react"
import { t } from "../texts.ts"
import { bytes } from "../ui/format.ts"
import { Icon } from "../ui/icon.tsx"
import { Loaded } from "../ui/states.tsx"
import { type Entry, folderQuery } from "./files.ts"

interface TreeProps {
  user: string
  agent: string
  entries: readonly Entry[]
  /** The path of the file that is shown. */
  open: string
  onOpen: (path: string) => void
  prefix?: string
}

/** How many entries of one folder are drawn at once. */
const STEP = 500

/** Folders are read when they are opened. */
export function FileTree({ entries, prefix = "", ...rest }: TreeProps) {
  const [shown, setShown] = useState(STEP)
  return (
    <ul className="at-tree">
      {entries.slice(0, shown).map((entry) => {
        const path = prefix + entry.name
        return (
          <li key={entry.name}>
            {entry.type === "directory" ? (
              <FolderRow {...rest} entry={entry} path={path} />
            ) : (
              <button
                type="button"
                className="at-tree-row"
                aria-current={rest.open === path ? "true" : undefined}
                onClick={() => rest.onOpen(path)}
                disabled={entry.type === "other"}
              >
                <Icon name="file" size={15} />
                <span className="at-ellipsis">{entry.name}</span>
                <span className="at-tree-size">{bytes(entry.size)}</span>
              </button>
            )}
          </li>
        )
      })}
      {entries.length > shown ? (
        <li>
          <button type="button" className="at-tree-row" onClick={() => setShown((n) => n + STEP)}>
            {t.files.more(entries.length - shown)}
          </button>
        </li>
      ) : null}
    </ul>
  )
}

function FolderRow({ entry, path, ...rest }: Omit<TreeProps, "entries" | "prefix"> & { entry: Entry; path: string }) {
  const holdsOpen = rest.open.startsWith(`${path}/`)
  const [expanded, setExpanded] = useState(holdsOpen)
  useEffect(() => {
    if (holdsOpen) setExpanded(true)
  }, [holdsOpen])
  return (
    <>
      <button type="button" className="at-tree-row" aria-expanded={expanded} onClick={() => setExpanded((was) => !was)}>
        <span className={expanded ? "at-caret at-caret-open" : "at-caret"}>
          <Icon name="back" size={12} />
        </span>
        <Icon name="folder" size={15} />
        <span className="at-ellipsis">{entry.name}</span>
      </button>
      {expanded ? <FolderContent {...rest} path={path} /> : null}
    </>
  )
}

function FolderContent({ path, ...rest }: Omit<TreeProps, "entries" | "prefix"> & { path: string }) {
  const query = useQuery(folderQuery(rest.user, rest.agent, path))
  return (
    <Loaded query={query} rows={1}>
      {(entries) =>
        entries.length === 0 ? (
          <p className="at-tree-empty">{t.files.emptyFolder}</p>
        ) : (
          <FileTree {...rest} entries={entries} prefix={`${path}/`} />
        )
      }
    </Loaded>
  )
}
