import { useBlocker } from "@tanstack/react-router"
import { useEffect, useSyncExternalStore } from "react"
import { t } from "../texts.ts"
import { Confirm } from "./confirm.tsx"

/** One mark for each form that holds changes; a page may have several forms, and asks once. */
const marks = new Set<object>()
const listeners = new Set<() => void>()
const isMarked = () => marks.size > 0
const listen = (listener: () => void) => {
  listeners.add(listener)
  return () => listeners.delete(listener)
}
const tell = () => {
  for (const listener of listeners) listener()
}

/** While `changed`, whoever leaves the page, or closes the tab, is asked first. */
export function useUnsaved(changed: boolean): void {
  useEffect(() => {
    if (!changed) return
    const mark = {}
    marks.add(mark)
    tell()
    return () => {
      marks.delete(mark)
      tell()
    }
  }, [changed])
}

export const useHasUnsaved = () => useSyncExternalStore(listen, isMarked)

/** Who signs out, or in as somebody else, has been asked enough. */
export function forgetUnsaved(): void {
  marks.clear()
  tell()
}

/** Stands once, around all pages, and asks for `useUnsaved`. */
export function LeaveGuard() {
  const disabled = !useHasUnsaved()
  // With `enableBeforeUnload` the browser itself asks when the tab is closed or loaded anew.
  const { status, proceed, reset } = useBlocker({
    withResolver: true,
    enableBeforeUnload: true,
    disabled,
    shouldBlockFn: leavesPage,
  })
  return (
    <Confirm
      opened={status === "blocked"}
      title={t.unsaved.title}
      text={t.unsaved.text}
      action={t.unsaved.leave}
      cancel={t.unsaved.stay}
      onClose={() => reset?.()}
      onConfirm={() => proceed?.()}
    />
  )
}

interface Address {
  pathname: string
  search: unknown
}

/** What else stands in the address (a filter, a template of the same editor) leaves what is typed as it is. */
function leavesPage({ current, next }: { current: Address; next: Address }): boolean {
  return isMarked() && (current.pathname !== next.pathname || pathIn(current.search) !== pathIn(next.search))
}

/** Of the file that is open. */
const pathIn = (search: unknown) =>
  typeof search === "object" && search !== null && "path" in search ? search.path : undefined
