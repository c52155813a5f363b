import { isApiError } from "@autonomis/sdk/errors.ts"
import { Anchor, Button, Group, Text, Textarea } from "@mantine/core"
import { notifications } from "@mantine/notifications"
import { useMutation, useQuery } from "@tanstack/react-query"
import { useState } from "react"
import { api, queryClient } from "../api.ts"
import { Markdown } from "../chat/markdown.tsx"
import { pathTo } from "../paths.ts"
import { t } from "../texts.ts"
import { Code } from "../ui/code.tsx"
import { bytes } from "../ui/format.ts"
import { Icon } from "../ui/icon.tsx"
import { Empty, Loaded } from "../ui/states.tsx"
import { toast, toastError } from "../ui/toast.ts"
import { useUnsaved } from "../ui/unsaved.tsx"
import { fileQuery } from "./files.ts"

interface Props {
  user: string
  agent: string
  path: string
  /** The file is no more. */
  onGone: () => void
}

/** One file: looked at, edited, downloaded, deleted. What it holds is shown as text or as a picture, never run. */
export function FileView({ user, agent, path, onGone }: Props) {
  const query = useQuery(fileQuery(user, agent, path))
  const [draft, setDraft] = useState<string | null>(null)
  const file = query.data
  const href = pathTo.download(user, agent, path)
  useUnsaved(draft !== null && file?.kind === "text" && draft !== file.text)

  const save = useMutation({
    mutationFn: (text: string) => {
      const etag = file?.kind === "text" ? file.etag : null
      const headers: Record<string, string> = etag ? { "If-Match": etag } : {}
      return api.files.write({ user, agent, path }, text, { headers, contentType: "text/plain" })
    },
    onSuccess: async () => {
      await query.refetch()
      setDraft(null)
      toast(t.files.saved)
    },
    onError: (error) => {
      if (isApiError(error, "precondition_failed"))
        notifications.show({
          title: t.files.changedTitle,
          message: t.files.changedText,
          color: "yellow",
          autoClose: false,
        })
      else toastError(error)
    },
  })
  const remove = useRemove(user, agent, path, onGone)
  if (query.error && isApiError(query.error, "not_found"))
    return <Empty icon="file" title={t.files.goneTitle} text={t.files.goneText(path)} />
  return (
    <div>
      <Group justify="space-between" mb="md" gap="sm">
        <Text fw={600} className="at-path">
          {path}
        </Text>
        <Group gap="xs">
          {file?.kind === "text" && draft === null ? (
            <Button
              size="xs"
              variant="default"
              leftSection={<Icon name="edit" size={14} />}
              onClick={() => setDraft(file.text)}
            >
              {t.files.edit}
            </Button>
          ) : null}
          <Button
            size="xs"
            variant="default"
            component="a"
            href={href}
            download={path.split("/").at(-1)}
            leftSection={<Icon name="download" size={14} />}
          >
            {t.files.download}
          </Button>
          <Button
            size="xs"
            variant="subtle"
            color="red"
            leftSection={<Icon name="trash" size={14} />}
            loading={remove.isPending}
            onClick={() => remove.mutate()}
          >
            {t.delete}
          </Button>
        </Group>
      </Group>
      {draft === null ? (
        <Loaded query={query}>
          {(data) => {
            if (data.kind === "folder") return <Empty icon="folder" title={path} text={t.files.isFolder} />
            if (data.kind === "image") return <img className="at-preview" src={href} alt={path} />
            if (data.kind === "binary")
              return (
                <Empty icon="file" title={t.files.binaryTitle} text={t.files.binaryText(bytes(data.size))}>
                  <Anchor href={href} download>
                    {t.files.download}
                  </Anchor>
                </Empty>
              )
            if (/\.(md|markdown)$/i.test(path) && data.text)
              return (
                <div className="at-card">
                  <Markdown text={data.text} />
                </div>
              )
            return data.text ? (
              <Code text={data.text} language={languageOf(path)} />
            ) : (
              <Text c="dimmed">{t.files.emptyFile}</Text>
            )
          }}
        </Loaded>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault()
            save.mutate(draft)
          }}
        >
          <Textarea
            aria-label={path}
            value={draft}
            onChange={(e) => setDraft(e.currentTarget.value)}
            autosize
            minRows={16}
            maxRows={34}
            classNames={{ input: "at-mono" }}
            spellCheck={false}
            onKeyDown={(e) => {
              if ((e.ctrlKey || e.metaKey) && e.key === "s") {
                e.preventDefault()
                save.mutate(draft)
              }
            }}
          />
          <Group mt="md" gap="xs">
            <Button type="submit" loading={save.isPending}>
              {t.save}
            </Button>
            <Button variant="default" onClick={() => setDraft(null)}>
              {t.cancel}
            </Button>
          </Group>
        </form>
      )}
    </div>
  )
}

/** Larger files are not kept back for an undo. */
const UNDO_BYTES = 5 * 1024 * 1024

/** Deletes at once; the bytes are kept for a moment, so that it can be undone. */
function useRemove(user: string, agent: string, path: string, onGone: () => void) {
  const refresh = () => queryClient.invalidateQueries({ queryKey: ["folder", user, agent] })
  const undo = async (kept: Blob, id: string) => {
    notifications.hide(id)
    try {
      await api.files.write({ user, agent, path }, kept, { headers: { "If-None-Match": "*" } })
      await refresh()
      toast(t.files.restored(path))
    } catch (error) {
      toastError(error)
    }
  }
  return useMutation({
    mutationFn: async () => {
      const response = await api.files.read({ user, agent, path })
      const small = Number(response.headers.get("content-length") ?? 0) <= UNDO_BYTES
      const kept = small ? await response.blob() : null
      if (kept === null) await response.body?.cancel()
      await api.files.delete({ user, agent, path })
      return kept
    },
    onError: toastError,
    onSuccess: async (kept) => {
      queryClient.removeQueries({ queryKey: ["file", user, agent, path] })
      onGone()
      const id = `deleted-${path}`
      notifications.show({
        id,
        autoClose: 12_000,
        withBorder: true,
        message: (
          <Group justify="space-between" gap="sm">
            <span>{t.files.deleted(path)}</span>
            {kept ? (
              <Button size="compact-xs" variant="light" onClick={() => undo(kept, id)}>
                {t.undo}
              </Button>
            ) : null}
          </Group>
        ),
      })
      await refresh()
    },
  })
}

const LANGUAGES: Record<string, string> = {
  py: "python",
  js: "javascript",
  mjs: "javascript",
  ts: "typescript",
  tsx: "typescript",
  sh: "bash",
  yml: "yaml",
  rs: "rust",
  rb: "ruby",
  html: "xml",
  svg: "xml",
}

function languageOf(path: string): string | null {
  const ending = /\.(\w+)$/.exec(path)?.[1]?.toLowerCase()
  return ending === undefined ? null : (LANGUAGES[ending] ?? ending)
}
