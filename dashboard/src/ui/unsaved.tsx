import { useBlocker } from "@tanstack/react-router"
import { t } from "../texts.ts"
import { Confirm } from "./confirm.tsx"

/** Asks before a page is left whose changes are not saved. */
export function Unsaved({ when }: { when: boolean }) {
  const { status, proceed, reset } = useBlocker({
    withResolver: true,
    enableBeforeUnload: false,
    shouldBlockFn: ({ current, next }) =>
      when && (current.pathname !== next.pathname || pathIn(current.search) !== pathIn(next.search)),
  })
  return (
    <Confirm
      opened={status === "blocked"}
      title={t.unsaved.title}
      text={t.unsaved.text}
      action={t.unsaved.leave}
      onClose={() => reset?.()}
      onConfirm={() => proceed?.()}
    />
  )
}

const pathIn = (search: unknown) =>
  typeof search === "object" && search !== null && "path" in search ? search.path : undefined
