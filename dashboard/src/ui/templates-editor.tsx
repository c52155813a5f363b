import { Badge, Button, Group, SegmentedControl, Stack, Text, Textarea } from "@mantine/core"
import { lazy, Suspense, useState } from "react"
import { t } from "../texts.ts"
import { useAddressState } from "./address-state.ts"
import { Confirm } from "./confirm.tsx"
import { toast, toastError } from "./toast.ts"
import { useUnsaved } from "./unsaved.tsx"

const Diff = lazy(async () => ({ default: (await import("./diff.tsx")).Diff }))

const NAMES = ["SOUL.md", "USER.md", "TOOLS.md", "HEARTBEAT.md"] as const
type Name = (typeof NAMES)[number]
const MAX_BYTES = 64 * 1024

/** The four texts of one level: edited, compared with the level below, and taken back to it. */
export function TemplatesEditor({
  texts,
  source,
  own,
  base,
  hint,
  save,
}: {
  /** The texts in force. */
  texts: Record<Name, string>
  source: Record<Name, string>
  /** The level that is edited here, as `source` names it. */
  own: string
  /** What stands when the override is taken away; null where that cannot be known. */
  base: Record<Name, string> | null
  hint: string
  save: (templates: Partial<Record<Name, string | null>>) => Promise<unknown>
}) {
  const [file, setFile] = useAddressState("file", NAMES[0])
  const name = NAMES.find((known) => known === file) ?? NAMES[0]
  const [drafts, setDrafts] = useState<Partial<Record<Name, string>>>({})
  const [view, setView] = useState<"edit" | "diff">("edit")
  const [busy, setBusy] = useState(false)
  const [resetting, setResetting] = useState(false)
  const text = drafts[name] ?? texts[name]
  const changed = NAMES.filter((n) => drafts[n] !== undefined && drafts[n] !== texts[n])
  useUnsaved(changed.length > 0)
  const size = new TextEncoder().encode(text).length

  const put = async (templates: Partial<Record<Name, string | null>>, message: string) => {
    setBusy(true)
    try {
      await save(templates)
      setDrafts((all) => Object.fromEntries(Object.entries(all).filter(([n]) => !(n in templates))))
      toast(message)
    } catch (error) {
      toastError(error)
    }
    setBusy(false)
  }
  return (
    <Stack gap="md">
      <Text size="sm" c="dimmed" maw={760}>
        {hint}
      </Text>
      <Group justify="space-between">
        <div className="at-scroll-x">
          <SegmentedControl
            aria-label={t.templates.file}
            value={name}
            onChange={setFile}
            data={NAMES.map((n) => ({ value: n, label: changed.includes(n) ? `${n} •` : n }))}
          />
        </div>
        <Group gap="xs">
          <Badge variant="light" color={source[name] === own ? "indigo" : "gray"}>
            {t.templates.from(source[name], own)}
          </Badge>
          {base ? (
            <SegmentedControl
              size="xs"
              aria-label={t.templates.view}
              value={view}
              onChange={(value) => setView(value as "edit" | "diff")}
              data={[
                { value: "edit", label: t.templates.edit },
                { value: "diff", label: t.templates.diff },
              ]}
            />
          ) : null}
        </Group>
      </Group>
      <Text size="sm">{t.templates.about[name]}</Text>
      {view === "diff" && base ? (
        <Suspense>
          <Diff before={base[name]} after={text} />
        </Suspense>
      ) : (
        <Textarea
          aria-label={name}
          value={text}
          onChange={(e) => {
            const { value } = e.currentTarget
            setDrafts((all) => ({ ...all, [name]: value }))
          }}
          autosize
          minRows={14}
          maxRows={32}
          spellCheck
          error={size > MAX_BYTES ? t.templates.tooLong : null}
          classNames={{ input: "at-mono" }}
        />
      )}
      <Group gap="xs">
        <Button
          loading={busy}
          disabled={changed.length === 0 || size > MAX_BYTES}
          onClick={() => put(Object.fromEntries(changed.map((n) => [n, drafts[n] ?? ""])), t.templates.saved)}
        >
          {changed.length > 1 ? t.templates.saveMany(changed.length) : t.save}
        </Button>
        {changed.includes(name) ? (
          <Button
            variant="default"
            onClick={() => setDrafts((all) => Object.fromEntries(Object.entries(all).filter(([n]) => n !== name)))}
          >
            {t.templates.discard}
          </Button>
        ) : null}
        {source[name] === own ? (
          <Button variant="subtle" color="red" onClick={() => setResetting(true)}>
            {t.templates.reset}
          </Button>
        ) : null}
      </Group>
      <Confirm
        opened={resetting}
        title={t.templates.resetTitle(name)}
        text={t.templates.resetText}
        action={t.templates.reset}
        onClose={() => setResetting(false)}
        onConfirm={() => {
          setResetting(false)
          void put({ [name]: null }, t.templates.resetDone)
        }}
      />
    </Stack>
  )
}
