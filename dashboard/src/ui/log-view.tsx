import type { LogEntry } from "@autonomis/contract/usage.ts"
import { followLogs } from "@autonomis/sdk/follow.ts"
import { Badge, Button, Group, NativeSelect, Switch, TextInput } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useEffect, useMemo, useState } from "react"
import { api } from "../api.ts"
import { t } from "../texts.ts"
import { useAddressState } from "./address-state.ts"
import { Empty, Loaded } from "./states.tsx"
import { logTime } from "./time.tsx"

const LEVELS = ["debug", "info", "warn", "error"] as const
const COLOR = { debug: "gray", info: "blue", warn: "yellow", error: "red" } as const
/** More lines than anybody reads; older ones leave as new ones come. */
const MOST_LINES = 2000

/** The newest lines and, live, those that come; of a user, one of their agents, or (user null) the platform. */
export function LogView({ user, agent, agents }: { user: string | null; agent?: string; agents?: readonly string[] }) {
  const [chosen, setChosen] = useAddressState("agent")
  const [level, setLevel] = useAddressState("level", "debug")
  const [text, setText] = useAddressState("q")
  const [live, setLive] = useState(true)
  const [fresh, setFresh] = useState<LogEntry[]>([])
  const [lost, setLost] = useState(false)
  const only = agent ?? (chosen || undefined)

  const query = useQuery({
    queryKey: ["logs", user, only ?? null],
    staleTime: 0,
    queryFn: async ({ signal }) => {
      const filter = only === undefined ? {} : { agent: only }
      const answer =
        user === null
          ? await api.logs.platform({ tail: 500 }, { signal })
          : await api.logs.user({ user, tail: 500, ...filter }, { signal })
      setFresh([])
      return answer.logs
    },
  })
  useEffect(() => {
    if (!live) return
    const stop = new AbortController()
    const read = async () => {
      const input = { user, ...(only === undefined ? {} : { agent: only }) }
      for await (const entry of followLogs(api, input, stop.signal))
        setFresh((all) => [...all.slice(-MOST_LINES), entry])
    }
    setLost(false)
    read().catch(() => setLost(!stop.signal.aborted))
    return () => stop.abort()
  }, [user, only, live])

  const shown = useMemo(() => {
    const least = (LEVELS as readonly string[]).indexOf(level)
    const needle = text.toLowerCase()
    return [...(query.data ?? []), ...fresh]
      .filter((e) => LEVELS.indexOf(e.level) >= least && e.message.toLowerCase().includes(needle))
      .slice(-MOST_LINES)
      .reverse()
  }, [query.data, fresh, level, text])

  return (
    <div>
      <Group mb="md" align="flex-end">
        <TextInput
          className="at-grow"
          label={t.logs.filter}
          value={text}
          onChange={(e) => setText(e.currentTarget.value)}
          placeholder={t.logs.filterHint}
        />
        {agents ? (
          <NativeSelect
            label={t.chat.agent}
            value={chosen}
            onChange={(e) => setChosen(e.currentTarget.value)}
            data={[{ value: "", label: t.logs.allAgents }, ...agents]}
          />
        ) : null}
        <NativeSelect
          label={t.logs.level}
          value={level}
          onChange={(e) => setLevel(e.currentTarget.value)}
          data={LEVELS.map((l) => ({ value: l, label: t.logs.levels[l] }))}
        />
        <Switch label={t.logs.live} checked={live} onChange={(e) => setLive(e.currentTarget.checked)} mb={8} />
      </Group>
      {lost ? <p role="status">{t.logs.lost}</p> : null}
      <Loaded query={query}>
        {() =>
          shown.length === 0 ? (
            <Empty
              icon="logs"
              title={t.logs.emptyTitle}
              text={text || level !== "debug" ? t.logs.noMatch : t.logs.emptyText}
            >
              {text || level !== "debug" ? (
                <Button
                  variant="default"
                  onClick={() => {
                    setText("")
                    setLevel("debug")
                  }}
                >
                  {t.logs.clear}
                </Button>
              ) : null}
            </Empty>
          ) : (
            // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by keyboard
            <section className="at-log" tabIndex={0} aria-label={t.logs.lines}>
              {shown.map((entry, i) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: lines have no name of their own
                <div key={shown.length - i} className="at-log-line">
                  <time dateTime={entry.time} title={entry.time}>
                    {logTime(entry.time)}
                  </time>
                  <Badge size="sm" variant="light" color={COLOR[entry.level]}>
                    {entry.level}
                  </Badge>
                  <span className="at-log-source">{entry.agent ?? entry.source}</span>
                  <span className="at-log-text">{entry.message}</span>
                </div>
              ))}
            </section>
          )
        }
      </Loaded>
    </div>
  )
}
