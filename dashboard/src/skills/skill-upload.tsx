import { followSkill } from "@autonomis/sdk/follow.ts"
import { Button, Group, Stack, Text, TextInput, Title } from "@mantine/core"
import { useMutation } from "@tanstack/react-query"
import { type DragEvent, useRef, useState } from "react"
import { apiTelling, explain, queryClient } from "../api.ts"
import { t } from "../texts.ts"
import { Icon } from "../ui/icon.tsx"
import { toast } from "../ui/toast.ts"
import { followed, SkillProgress, type SkillStage } from "./skill-progress.tsx"

/** A SKILL.md or a zip, chosen or dropped; its id is read from the file where that is possible. */
export function SkillUpload({ user }: { user: string }) {
  const [file, setFile] = useState<File | null>(null)
  const [id, setId] = useState("")
  const [dragging, setDragging] = useState(false)
  const [stage, setStage] = useState<SkillStage | null>(null)
  const picker = useRef<HTMLInputElement>(null)
  const upload = useMutation({
    mutationFn: async (chosen: File) => {
      const contentType = isZip(chosen) ? "application/zip" : "text/markdown"
      const sending = apiTelling((bytes, total) => setStage({ stage: "sending", bytes, total }))
      const work = followSkill(
        (call) => sending.skills.upload({ user, id }, chosen, { ...call, contentType }),
        new AbortController().signal,
      )
      return await followed(work, setStage)
    },
    onSettled: () => setStage(null),
    onSuccess: async (skill) => {
      toast(t.skills.installed(skill.id))
      setFile(null)
      setId("")
      await queryClient.invalidateQueries({ queryKey: ["skills", user] })
    },
  })
  const choose = async (chosen: File | undefined) => {
    if (!chosen) return
    upload.reset()
    setFile(chosen)
    setId(isZip(chosen) ? idFromName(chosen.name) : (nameIn(await chosen.text()) ?? idFromName(chosen.name)))
  }
  const onDrop = (event: DragEvent) => {
    event.preventDefault()
    setDragging(false)
    void choose(event.dataTransfer.files[0])
  }
  return (
    <section className="at-card" aria-label={t.skills.uploadTitle}>
      <Title order={2}>{t.skills.uploadTitle}</Title>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: dropping is a second way; the button does the same */}
      <div
        className={dragging ? "at-drop at-dragging" : "at-drop"}
        onDragOver={(event) => {
          event.preventDefault()
          setDragging(true)
        }}
        onDragLeave={() => setDragging(false)}
        onDrop={onDrop}
      >
        <Icon name="upload" size={24} />
        <Text size="sm">{file ? file.name : t.skills.drop}</Text>
        <Button size="xs" variant="default" onClick={() => picker.current?.click()}>
          {t.skills.choose}
        </Button>
        <input
          ref={picker}
          type="file"
          accept=".md,.zip,text/markdown,application/zip"
          hidden
          aria-label={t.skills.choose}
          onChange={(event) => {
            void choose(event.currentTarget.files?.[0])
            event.currentTarget.value = ""
          }}
        />
      </div>
      {file ? (
        <form
          onSubmit={(event) => {
            event.preventDefault()
            if (id) upload.mutate(file)
          }}
        >
          <Stack mt="md" gap="sm">
            <TextInput
              label={t.skills.id}
              description={t.skills.idHint}
              value={id}
              onChange={(e) => setId(e.currentTarget.value)}
              error={upload.error ? explain(upload.error) : null}
            />
            {stage ? <SkillProgress at={stage} /> : null}
            <Group>
              <Button type="submit" loading={upload.isPending} disabled={!id}>
                {t.skills.install}
              </Button>
              <Button variant="default" onClick={() => setFile(null)}>
                {t.cancel}
              </Button>
            </Group>
          </Stack>
        </form>
      ) : null}
    </section>
  )
}

const isZip = (file: File) => file.type === "application/zip" || file.name.toLowerCase().endsWith(".zip")
const idFromName = (name: string) =>
  name
    .toLowerCase()
    .replace(/\.(md|zip)$/, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")

/** `name:` of a SKILL.md's frontmatter. */
function nameIn(text: string): string | null {
  const front = /^---\r?\n([\s\S]*?)\r?\n---/.exec(text)?.[1]
  return /^name:[ \t]*["']?([a-z0-9-]+)/m.exec(front ?? "")?.[1] ?? null
}
