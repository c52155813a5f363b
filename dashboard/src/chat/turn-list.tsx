import { Button } from "@mantine/core"
import { useVirtualizer } from "@tanstack/react-virtual"
import { type ReactNode, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react"
import { t } from "../texts.ts"
import { Icon } from "../ui/icon.tsx"
import type { Turn } from "./turns.ts"

/** Below this many the browser lays everything out by itself. */
const VIRTUAL_FROM = 40
/** Closer to the end than this, the reader follows the answer. */
const NEAR_PX = 80
/** A scroll this soon after a wheel, key or touch is the reader's own. */
const ACTED_MS = 800

/** The conversation; it stays at its end while the reader is there, and keeps thousands of turns smooth. */
export function TurnList({
  turns,
  following,
  children,
  empty,
}: {
  turns: readonly Turn[]
  /** Changes whenever there is something new at the end. */
  following: unknown
  children: (turn: Turn, last: boolean) => ReactNode
  empty: ReactNode
}) {
  const scroll = useRef<HTMLDivElement>(null)
  const atEnd = useRef(true)
  const acted = useRef(Number.NEGATIVE_INFINITY)
  const [away, setAway] = useState(false)
  const virtual = turns.length >= VIRTUAL_FROM

  const toEnd = useCallback(() => {
    const element = scroll.current
    if (element) element.scrollTop = element.scrollHeight
  }, [])
  // biome-ignore lint/correctness/useExhaustiveDependencies: each change of these may have grown the end
  useLayoutEffect(() => {
    if (atEnd.current) toEnd()
  }, [following, turns])
  // Pictures and colours come later and make the content grow.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the element that is watched changes with it
  useEffect(() => {
    const content = scroll.current?.firstElementChild
    if (!content) return
    const observer = new ResizeObserver(() => {
      if (atEnd.current) toEnd()
    })
    observer.observe(content)
    return () => observer.disconnect()
  }, [virtual])
  useEffect(() => {
    const element = scroll.current
    if (!element) return
    const onAct = () => {
      acted.current = performance.now()
    }
    const acts = ["wheel", "touchmove", "keydown", "pointerdown"]
    for (const act of acts) element.addEventListener(act, onAct, { passive: true })
    return () => {
      for (const act of acts) element.removeEventListener(act, onAct)
    }
  }, [])
  const onScroll = () => {
    const element = scroll.current
    if (!element) return
    const near = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR_PX
    // The place also changes while rows are measured: only a reader who acts goes away from the end.
    if (near) atEnd.current = true
    else if (performance.now() - acted.current < ACTED_MS) atEnd.current = false
    setAway(!atEnd.current)
  }
  return (
    <div className="at-scroll-frame">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard */}
      <section ref={scroll} className="at-scroll" onScroll={onScroll} tabIndex={0} aria-label={t.chat.conversation}>
        {turns.length === 0 ? (
          <div>{empty}</div>
        ) : virtual ? (
          <VirtualTurns turns={turns} scroll={scroll}>
            {children}
          </VirtualTurns>
        ) : (
          <div>
            {turns.map((turn, i) => (
              <div key={turn.id} className="at-turn-row">
                {children(turn, i === turns.length - 1)}
              </div>
            ))}
          </div>
        )}
      </section>
      {away ? (
        <Button
          className="at-to-end"
          size="xs"
          variant="default"
          radius="xl"
          leftSection={<Icon name="down" size={14} />}
          onClick={() => {
            atEnd.current = true
            setAway(false)
            toEnd()
          }}
        >
          {t.chat.toEnd}
        </Button>
      ) : null}
    </div>
  )
}

function VirtualTurns({
  turns,
  scroll,
  children,
}: {
  turns: readonly Turn[]
  scroll: React.RefObject<HTMLDivElement | null>
  children: (turn: Turn, last: boolean) => ReactNode
}) {
  const virtualizer = useVirtualizer({
    count: turns.length,
    getScrollElement: () => scroll.current,
    estimateSize: () => 160,
    overscan: 6,
    getItemKey: (i) => turns[i]?.id ?? i,
  })
  const items = virtualizer.getVirtualItems()
  return (
    <div className="at-virtual" style={{ height: virtualizer.getTotalSize() }}>
      {items.map((item) => {
        const turn = turns[item.index]
        if (turn === undefined) return null
        return (
          <div
            key={item.key}
            data-index={item.index}
            ref={virtualizer.measureElement}
            className="at-turn-row at-virtual-row"
            style={{ transform: `translateY(${item.start}px)` }}
          >
            {children(turn, item.index === turns.length - 1)}
          </div>
        )
      })}
    </div>
  )
}
