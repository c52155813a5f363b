import { ActionIcon, Button, Group, Modal, Progress, Stack, Text, TextInput } from "@mantine/core"
import { useQuery } from "@tanstack/react-query"
import { useNavigate, useSearch } from "@tanstack/react-router"
import { type DragEvent, useRef, useState } from "react"
import { queryClient } from "../api.ts"
import type { AgentTabProps } from "../pages/agent.tsx"
import { routes } from "../paths.ts"
import { t } from "../texts.ts"
import { bytes } from "../ui/format.ts"
import { Icon } from "../ui/icon.tsx"
import { Empty, Loaded } from "../ui/states.tsx"
import { FileTree } from "./file-tree.tsx"
import { FileView } from "./file-view.tsx"
import { folderQuery } from "./files.ts"
import { useUploads } from "./uploads.ts"

/** The agent's workspace: its tree beside the file that is open, whose path stands in the address. */
export function FilesTab({ user, agent }: AgentTabProps) {
  const { path = "" }: { path?: string } = useSearch({ strict: false })
  const navigate = useNavigate()
  const [dragging, setDragging] = useState(false)
  const [naming, setNaming] = useState(false)
  const picker = useRef<HTMLInputElement>(null)
  const root = useQuery(folderQuery(user, agent, ""))
  const uploads = useUploads(user, agent)
  const open = (next: string) =>
    navigate({ to: routes.agentTab, params: { user, agent, tab: "files" }, search: next ? { path: next } : {} })
  // New files go beside the one that is open.
  const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/")) : ""

  const onDrop = (event: DragEvent) => {
    event.preventDefault()
    setDragging(false)
    uploads.add(folder, [...event.dataTransfer.files])
  }
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: dropping is a second way; the buttons do the same
    <div
      className={dragging ? "at-files at-dragging" : "at-files"}
      onDragOver={(event) => {
        event.preventDefault()
        setDragging(true)
      }}
      onDragLeave={() => setDragging(false)}
      onDrop={onDrop}
    >
      <div className="at-files-side">
        <Group gap="xs" mb="sm">
          <Button size="xs" leftSection={<Icon name="upload" size={14} />} onClick={() => picker.current?.click()}>
            {t.files.upload}
          </Button>
          <Button
            size="xs"
            variant="default"
            leftSection={<Icon name="plus" size={14} />}
            onClick={() => setNaming(true)}
          >
            {t.files.new}
          </Button>
          <ActionIcon
            variant="subtle"
            color="gray"
            aria-label={t.files.refresh}
            onClick={() => queryClient.invalidateQueries({ queryKey: ["folder", user, agent] })}
          >
            <Icon name="retry" size={16} />
          </ActionIcon>
          <input
            ref={picker}
            type="file"
            multiple
            hidden
            aria-label={t.files.upload}
            onChange={(event) => {
              uploads.add(folder, [...(event.currentTarget.files ?? [])])
              event.currentTarget.value = ""
            }}
          />
        </Group>
        {uploads.list.map((upload) => (
          <div key={upload.id} className="at-upload">
            <Group justify="space-between" gap="xs" wrap="nowrap">
              <Text size="sm" truncate>
                {upload.name}
              </Text>
              <Text size="xs" c={upload.error ? "var(--mantine-color-error)" : "dimmed"}>
                {upload.error ?? bytes(upload.size)}
              </Text>
            </Group>
            {upload.error ? (
              <Group gap={4}>
                {upload.replace ? (
                  <Button size="compact-xs" variant="light" color="red" onClick={upload.replace}>
                    {t.files.replace}
                  </Button>
                ) : null}
                <Button size="compact-xs" variant="subtle" color="gray" onClick={() => uploads.dismiss(upload.id)}>
                  {upload.replace ? t.cancel : t.chat.dismiss}
                </Button>
              </Group>
            ) : (
              <Progress value={upload.percent} size="sm" aria-label={t.files.uploading(upload.name)} />
            )}
          </div>
        ))}
        <Loaded query={root}>
          {(entries) =>
            entries.length === 0 ? (
              <Text size="sm" c="dimmed">
                {t.files.emptyText}
              </Text>
            ) : (
              <FileTree user={user} agent={agent} entries={entries} open={path} onOpen={open} />
            )
          }
        </Loaded>
      </div>
      <div className="at-files-main">
        {path ? (
          <FileView key={path} user={user} agent={agent} path={path} onGone={() => open("")} />
        ) : (
          <Empty icon="file" title={t.files.noneTitle} text={t.files.noneText} />
        )}
      </div>
      <NewFile
        opened={naming}
        folder={folder}
        onClose={() => setNaming(false)}
        onName={(name) => {
          setNaming(false)
          uploads.create(name, open)
        }}
      />
    </div>
  )
}

function NewFile({
  opened,
  folder,
  onClose,
  onName,
}: {
  opened: boolean
  folder: string
  onClose: () => void
  onName: (path: string) => void
}) {
  const [name, setName] = useState("")
  return (
    <Modal opened={opened} onClose={onClose} title={t.files.new}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          if (!name.trim()) return
          onName(folder ? `${folder}/${name.trim()}` : name.trim())
          setName("")
        }}
      >
        <Stack>
          <TextInput
            label={t.files.name}
            description={t.files.nameHint}
            placeholder="notes/plan.md"
            value={name}
            onChange={(e) => setName(e.currentTarget.value)}
            data-autofocus
          />
          <Group justify="flex-end">
            <Button type="submit">{t.files.create}</Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  )
}
